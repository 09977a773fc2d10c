"""The desync trial: whatever the network and whoever interrupts do, no wrong answer is handed out.

What a schedule is stands in ``tests/desync``; ``benchmarks/desync.py`` runs many more of them, with other clients
beside ours.
"""

from __future__ import annotations

import errno
import itertools
import ssl

import pytest

from memproto import (
    Add,
    Counter,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Increment,
    LocalProtocolError,
    RemoteProtocolError,
    Set,
    Status,
    Stored,
)
from tests.desync import asynchronous, careless, clients, lines, pure, trial
from tests.desync.asynchronous import AsyncContestant
from tests.desync.clients import Contestant
from tests.desync.faults import BROKEN, SLOW, Fault
from tests.desync.oracle import Call, Done, Kind, Oracle, Result, Tally
from tests.support.peers import require

pytestmark = pytest.mark.untraced

DIALECTS = [pytest.param(dialect, id=dialect.name.lower()) for dialect in Dialect]
CLIENTS = [pytest.param(each, id=each.name) for each in clients.OURS]
POOLED = [pytest.param(each, id=each.name) for each in clients.POOLED]
ASYNC_MANY = [pytest.param(each, id=each.name) for each in asynchronous.MANY]
ASYNC_CLIENTS = [pytest.param(each, id=each.name) for each in asynchronous.OURS]
# Whose answers carry the request's own opaque.
MARKED = [Dialect.BINARY, Dialect.META]
FAULTS = [pytest.param(fault, id=fault.name.lower()) for fault in BROKEN]


def check(tally: Tally, least: int, lost: bool = False) -> None:
    """At least so many answers, none of them wrong; only with ``lost`` may some be missing."""
    assert (tally.wrong, tally.stuck) == (0, 0), tally
    assert lost or tally.lost == 0, tally
    assert tally.answers >= least
    assert tally.raised > 0


# --- the connection alone


@pytest.mark.parametrize("dialect", DIALECTS)
def test_connection_with_a_slow_server_gives_no_wrong_reply(dialect: Dialect) -> None:
    check(pure.run_many(dialect, 1, 300, SLOW), 2000)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("dialect", MARKED)
def test_connection_with_a_broken_server_gives_no_wrong_reply_in_binary_and_meta(
    dialect: Dialect, fault: Fault
) -> None:
    tally = pure.run_many(dialect, 2, 100, (fault,))
    assert tally.wrong == 0, tally
    # A lost answer to a quiet request, and there is such a request in each binary get of many keys, is its silence.
    assert tally.lost == 0 or (dialect is Dialect.BINARY and fault is Fault.NEVER), tally
    assert tally.raised > 30


@pytest.mark.parametrize("fault", FAULTS)
def test_connection_with_a_broken_server_may_give_wrong_replies_without_a_key_in_classic_text(fault: Fault) -> None:
    tally = pure.run_many(Dialect.CLASSIC, 3, 100, (fault,))
    # Words that any request of a kind could be answered with. A value never reaches a get of another key.
    assert tally.kinds.keys() <= {"Set", "Add", "Append", "Delete", "Increment", "Touch"}
    assert tally.wrong > 0
    assert tally.raised > 30


# --- the blocking client


@pytest.mark.parametrize("client", CLIENTS)
def test_client_with_a_slow_server_gives_no_wrong_result(client: Contestant) -> None:
    check(trial.run_many(client, 1, 100, SLOW), 1000)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client_with_a_broken_server_gives_no_wrong_result_but_those_of_classic_text(
    client: Contestant, fault: Fault
) -> None:
    tally = trial.run_many(client, 2, 40, (fault,))
    if "classic" in client.name and fault is not Fault.TWICE:
        # As for the connection above. It does notice bytes that arrive together with the right reply.
        assert tally.kinds.keys() <= {kind.value for kind in (Kind.ADD, Kind.CAS, Kind.DELETE, Kind.INCREMENT)}
        assert tally.stuck == 0, tally
        assert tally.answers >= 300
    else:
        check(tally, 300, lost="binary" in client.name and fault is Fault.NEVER)


@pytest.mark.parametrize("client", CLIENTS)
def test_interrupt_at_any_line_leads_to_no_wrong_result(client: Contestant) -> None:
    check(lines.everywhere(client, stride=17), 2000)


@pytest.mark.parametrize("client", CLIENTS)
def test_interrupt_at_any_instruction_leads_to_no_wrong_result(client: Contestant) -> None:
    check(lines.everywhere(client, instructions=True, stride=167), 2000)


class Own(BaseException):
    """Of the program that uses the client."""


# What a signal handler may raise: what looks like an error of the client, of the system, or of neither.
ERRORS: tuple[lines.Error, ...] = (
    TimeoutError,
    lambda: TimeoutError(errno.ETIMEDOUT, "too late"),
    BlockingIOError,
    lambda: BlockingIOError(errno.EAGAIN, "try again"),
    InterruptedError,
    lambda: ConnectionResetError(errno.ECONNRESET, "reset"),
    ssl.SSLWantReadError,
    LocalProtocolError,
    lambda: RemoteProtocolError("of a signal handler"),
    StopIteration,
    Own,
)


# Where a coroutine awaits another one, Python takes a StopIteration of a signal handler for the end of the other.
ERRORS_OF_TASKS: tuple[lines.Error, ...] = tuple(error for error in ERRORS if error is not StopIteration)


def in_turn(errors: tuple[lines.Error, ...] = ERRORS) -> lines.Error:
    """Each of them, one after the other."""
    turns = itertools.cycle(errors)
    return lambda: next(turns)()


@pytest.mark.parametrize("client", CLIENTS)
def test_signal_handler_that_raises_at_any_line_leads_to_no_wrong_result(client: Contestant) -> None:
    tally = lines.everywhere(client, stride=7, error=in_turn())
    check(tally, 5_000)
    assert tally.interrupted > 100 * len(ERRORS)


@pytest.mark.parametrize("client", CLIENTS)
def test_signal_handler_that_raises_at_any_instruction_leads_to_no_wrong_result(client: Contestant) -> None:
    tally = lines.everywhere(client, instructions=True, stride=83, error=in_turn())
    check(tally, 5_000)
    assert tally.interrupted > 50 * len(ERRORS)


@pytest.mark.parametrize("client", CLIENTS)
def test_signal_handler_that_raises_in_any_operation_leads_to_no_wrong_result(client: Contestant) -> None:
    tally = trial.run_many(client, 5, 300, SLOW, error=in_turn())
    check(tally, 3_000)
    assert tally.interrupted > 20 * len(ERRORS)


# --- the blocking client with a pool, and commands on many keys


@pytest.mark.parametrize("client", POOLED)
def test_pool_with_a_slow_server_gives_no_wrong_result(client: Contestant) -> None:
    check(trial.run_many(client, 6, 60, SLOW), 500)


@pytest.mark.parametrize("client", POOLED)
def test_signal_handler_that_raises_at_any_line_of_a_pool_leads_to_no_wrong_result(client: Contestant) -> None:
    tally = lines.everywhere(client, stride=307, error=in_turn())
    check(tally, 300)
    assert tally.interrupted > 2 * len(ERRORS)


@pytest.mark.parametrize("client", POOLED)
def test_signal_handler_that_raises_in_any_operation_of_a_pool_leads_to_no_wrong_result(client: Contestant) -> None:
    tally = trial.run_many(client, 7, 100, SLOW, error=in_turn())
    check(tally, 800)


# --- the asyncio client


@pytest.mark.parametrize("client", ASYNC_CLIENTS)
def test_tasks_with_a_slow_server_get_no_wrong_result(client: AsyncContestant) -> None:
    check(asynchronous.run_many(client, 1, 40, SLOW), 300)


@pytest.mark.parametrize("client", ASYNC_MANY)
def test_tasks_with_commands_on_many_keys_and_a_slow_server_get_no_wrong_result(client: AsyncContestant) -> None:
    check(asynchronous.run_many(client, 3, 30, SLOW), 200)


@pytest.mark.parametrize("client", [each for each in ASYNC_CLIENTS if "classic" not in str(each.id)])
def test_tasks_with_a_broken_server_get_no_wrong_result_in_binary_and_meta(client: AsyncContestant) -> None:
    check(asynchronous.run_many(client, 2, 30, BROKEN), 250, lost="binary" in client.name)


def test_tasks_whose_server_leaves_out_replies_in_classic_text_give_the_connection_up() -> None:
    (classic,) = [each for each in asynchronous.OURS if "classic" in each.name]
    tally = asynchronous.run_many(classic, 2, 30, (Fault.NEVER,))
    # Every call would get its predecessor's answer for ever, if the connection were kept.
    assert tally.stuck == 0, tally
    assert tally.answers >= 250


@pytest.mark.parametrize("client", ASYNC_CLIENTS)
def test_interrupt_of_tasks_at_any_line_leads_to_no_wrong_result(client: AsyncContestant) -> None:
    tally = lines.everywhere(client, stride=61)
    check(tally, 1000)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("client", ASYNC_CLIENTS)
def test_signal_handler_that_raises_at_any_instruction_of_tasks_leads_to_no_wrong_result(
    client: AsyncContestant,
) -> None:
    tally = lines.everywhere(client, instructions=True, stride=211, error=in_turn(ERRORS_OF_TASKS))
    check(tally, 2_000)
    assert tally.interrupted > 20 * len(ERRORS_OF_TASKS)


# --- the trial itself


def test_trial_finds_wrong_results_of_careless_clients() -> None:
    for tally in (
        pure.run_many(Dialect.CLASSIC, 4, 60, (Fault.TWICE,)),
        trial.run_many(careless.BLOCKING, 1, 20, SLOW),
        lines.everywhere(careless.BLOCKING),
        asynchronous.run_many(careless.ASYNCHRONOUS, 1, 20, SLOW),
    ):
        assert tally.wrong > 3, tally


def test_a_schedule_follows_from_its_number() -> None:
    for client in clients.OURS:
        assert trial.run(client, "a", SLOW) == trial.run(client, "a", SLOW)
    for task in asynchronous.OURS:
        assert asynchronous.run(task, "a", SLOW) == asynchronous.run(task, "a", SLOW)


RIVALS = [pytest.param(each, id=each.name, marks=pytest.mark.peer(each.package)) for each in clients.RIVALS]


@pytest.mark.parametrize("client", RIVALS)
def test_clients_of_other_projects_can_be_tried(client: Contestant) -> None:
    require(client.package)
    tally = trial.run_many(client, 1, 5, SLOW)
    assert tally.answers > 20
    assert tally.schedules == 5


@pytest.mark.peer("aiomcache")
def test_aiomcache_can_be_tried() -> None:
    require("aiomcache")
    assert asynchronous.run_many(asynchronous.AIOMCACHE, 1, 5, SLOW).answers > 20


# --- the judge


KEY, OTHER, COUNTER = b"key-0", b"key-1", b"counter-0"


def judged(
    kind: Kind, result: Result, *, keys: tuple[bytes, ...] = (KEY,), began: int = 1, failed: bool = False
) -> str:
    """What a result is worth after key-0 was set to ``old``, and then by this call, or not, to ``new``."""
    oracle = Oracle()
    for value, cas in ((b"old", 1), (b"new", 2)):
        oracle.issue(Call(Kind.SET, (KEY,), value))
        oracle.executed(Set(KEY, value), Stored(cas))
    oracle.issue(Call(Kind.INCREMENT, (COUNTER,), delta=5))
    oracle.executed(Increment(COUNTER, 5), Counter(1_000_005, 3))
    oracle.issue(Call(Kind.ADD, (KEY,), b"added"))
    oracle.executed(Add(KEY, b"added"), Failure(Status.KEY_EXISTS))
    oracle.issue(Call(Kind.DELETE, (OTHER,)))
    oracle.executed(Delete(OTHER), Deleted())
    assert oracle.corrupt == 0
    value = {Kind.SET: b"new", Kind.ADD: b"added"}.get(kind, b"never sent")
    return oracle.judge(Call(kind, keys, value, delta=5), result, began, failed).value


def test_value_is_judged_right_wrong_or_lost() -> None:
    assert judged(Kind.GET, b"new") == judged(Kind.GET, b"old") == "right"
    assert judged(Kind.GET, b"old", began=2) == judged(Kind.GET, b"other") == "wrong"
    assert judged(Kind.GET, None) == "lost"
    assert judged(Kind.GET, None, began=0) == "right"
    assert judged(Kind.GETS, (b"new", 2)) == "right"
    assert judged(Kind.GETS, (b"new", 1)) == "wrong"
    assert judged(Kind.GETS, None) == "lost"


def test_values_of_many_keys_are_judged_right_wrong_or_lost() -> None:
    keys = (KEY, OTHER, COUNTER)
    assert judged(Kind.MANY, {KEY: b"new", COUNTER: b"1000005"}, keys=keys) == "right"
    assert judged(Kind.MANY, {KEY: b"new"}, keys=keys, began=3) == "lost"
    assert judged(Kind.MANY, {KEY: b"1000005", COUNTER: b"new"}, keys=keys) == "wrong"
    assert judged(Kind.MANY, {b"key-2": b"new"}, keys=keys) == "wrong"


def test_results_of_writes_are_judged_right_wrong_or_lost() -> None:
    assert judged(Kind.SET, True) == judged(Kind.ADD, False) == "right"
    assert judged(Kind.SET, False) == judged(Kind.ADD, True) == "wrong"
    assert judged(Kind.SET, False, failed=True) == "lost"
    assert judged(Kind.CAS, True) == judged(Kind.CAS, True, failed=True) == "wrong"
    assert judged(Kind.DELETE, True, keys=(OTHER,)) == judged(Kind.DELETE, Done.DONE, keys=(OTHER,)) == "right"
    assert judged(Kind.DELETE, True) == judged(Kind.DELETE, False, keys=(OTHER,)) == "wrong"
    assert judged(Kind.INCREMENT, 1_000_005, keys=(COUNTER,)) == "right"
    assert judged(Kind.INCREMENT, 1_000_004, keys=(COUNTER,)) == "wrong"
    assert judged(Kind.INCREMENT, 0, keys=(COUNTER,), failed=True) == "lost"


def test_request_that_no_client_has_sent_is_corrupt() -> None:
    oracle = Oracle()
    oracle.executed(Set(KEY, b"half of"), Stored(1))
    oracle.executed(Delete(KEY), Deleted())
    oracle.executed(Increment(COUNTER, 1), Counter(1))
    assert oracle.corrupt == 3
