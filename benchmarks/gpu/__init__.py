"""What is true of spikeproof on a GPU? `python -m benchmarks.gpu` answers in a few minutes, part by part.

It needs this repository, and for two of its parts the files of CIFAR-10. Each part is measured by itself: one that
fails or runs out of time loses nothing of the others. The file of results is written whole after every row.
"""
