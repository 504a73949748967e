"""The parts that kinds are put together from."""
