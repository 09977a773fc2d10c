"""What all dialects share: the receive buffer, packed layouts, range checks, and the interfaces of a dialect."""
