"""Environment variables of a process that holds a replica, set before it starts."""

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""glibc keeps the memory of freed tensors for the next ones. Handing it back after every layer cost
4 to 6% of a replica's CPU seconds in page faults (demo model, bfloat16).
"""
FEW_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "256"}
"""oneDNN compiles every new shape of a bfloat16 product, and it and PyTorch keep 1,024 each: a
replica grew by 1.0 GiB over 20 candidates x 100 anchors of the demo model. These are enough for the
shapes of a pack: 0.4 GiB, in the same CPU seconds (64 of each: 11% more).
"""
