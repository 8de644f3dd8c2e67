"""How fast is spikeproof beside its peers? `python -m benchmarks` answers in one process, as ratios.

Absolute times say more about the machine than about the code, so every number here is a ratio of two contestants that
ran alternately, on the same weights, with the same threads and the same memory allocator, after a proof that they
compute the same thing. Needs `pip install --no-deps -r requirements-peers.txt`.
"""
