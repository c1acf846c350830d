"""Which frame comes when: orders, the slice of a rank, batches of ids, and the place in an epoch. No torch."""
