"""What the tests share: literal bytes, peers, generated requests, counters of what a law reaches."""
