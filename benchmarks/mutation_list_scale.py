"""Mutations of what makes runs fast, keeps them in memory and spreads them over processes."""

from benchmarks.mutation_list import Mutation

SHARES = [
    Mutation(
        "shares: torchrun's rank is not looked at first",
        "configs/shares.py",
        'LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))',
        'LAUNCHERS = (("SLURM_PROCID", "SLURM_NTASKS"), ("RANK", "WORLD_SIZE"))',
        "tests/test_shards.py",
    ),
    Mutation(
        "shares: two processes make the same batches",
        "tardiff/shards.py",
        "if number % job.share[1] == job.share[0]]",
        "if number % job.share[1] <= job.share[0]]",
        "tests/test_shards.py",
    ),
    Mutation(
        "shares: numbered after leaving out what is finished",
        "scripts/cells.py",
        "number = numbers.setdefault(key, len(numbers))",
        "number = numbers.setdefault(key, len(fits))",
        "tests/test_cells.py",
    ),
    Mutation(
        "spread: a piece of work can be claimed twice",
        "tardiff/spread.py",
        ".touch(exist_ok=False)",
        ".touch()",
        "tests/test_spread.py",
    ),
    Mutation(
        "spread: what a helper raised is looked at in the end only",
        "tardiff/spread.py",
        "            if helper.done():\n                helper.result()\n",
        "            pass\n",
        "tests/test_spread.py",
    ),
    Mutation(
        "spread: helpers work on after an error",
        "tardiff/spread.py",
        "release_helpers(kill=True)",
        "pass",
        "tests/test_spread.py",
    ),
    Mutation(
        "spread: helpers outlive a killed process",
        "tardiff/spread.py",
        "while os.getppid() == home:",
        "while True:",
        "tests/test_spread.py",
    ),
    Mutation(
        "spread: threads stay at one",
        "classifier/device.py",
        "        torch.set_num_threads(before)",
        "        pass",
        "tests/test_spread.py",
    ),
]
RANKS = [
    Mutation(
        "ranks: every rank computes the first item",
        "tardiff/ranks.py",
        "own = compute(group[self.rank % len(group)])",
        "own = compute(group[0])",
        "tests/test_ranks.py",
    ),
    Mutation(
        "ranks: all train on the same rows",
        "tardiff/diffusion.py",
        "self.global_rank if rank is None else rank]",
        "0 if rank is None else rank]",
        "tests/test_ranks.py",
    ),
    Mutation(
        "ranks: each keeps a held-out loss of its own share",
        "tardiff/diffusion.py",
        'mean = self.trainer.strategy.reduce(own, reduce_op="sum") / VALIDATION_DRAWS',
        "mean = own / VALIDATION_DRAWS",
        "tests/test_ranks.py",
    ),
]
SPEED = [
    Mutation(
        "vectorised draws: rows of a class counted from its end",
        "tardiff/diffusion.py",
        "starts = (self.class_counts.cumsum(0) - self.class_counts)[classes]",
        "starts = (self.class_counts.cumsum(0) - 1)[classes]",
        "tests/test_diffusion.py",
    ),
    Mutation(
        "channels last: order lost at the first layer",
        "tardiff/blocks.py",
        "order = torch.channels_last if channels_last else torch.contiguous_format",
        "order = torch.contiguous_format",
        "tests/test_diffusion.py",
    ),
    Mutation(
        "averaged weights: fixed decay from the start",
        "tardiff/diffusion.py",
        "decay = min(self.objective.ema_decay, (1 + step) / (10 + step))",
        "decay = self.objective.ema_decay",
        "tests/test_diffusion.py",
    ),
    Mutation(
        "precision auto: bf16 on every GPU",
        "tardiff/trainer.py",
        "if on_gpu and torch.cuda.is_bf16_supported() else",
        "if on_gpu else",
        "tests/test_diffusion.py",
    ),
    Mutation(
        "compiled and uncompiled models are taken for each other",
        "tardiff/train.py",
        '    if not section["compile"]:\n        section.pop("compile")',
        '    if True:\n        section.pop("compile")',
        "tests/test_diffusion.py",
    ),
]
MEMORY = [
    Mutation(
        "memory: a storage counts as often as it is saved",
        "tardiff/memory.py",
        "storages[storage.data_ptr()] = storage.nbytes()",
        "storages[len(storages)] = storage.nbytes()",
        "tests/test_memory.py",
    ),
    Mutation(
        "memory: the control group's limit is not read",
        "tardiff/memory.py",
        "        if text.isdigit():\n",
        "        if False:\n",
        "tests/test_memory.py",
    ),
    Mutation(
        "memory: weights counted with every series",
        "tardiff/memory.py",
        "return max(1, (bytes_of(4) - bytes_of(2)) // 2)",
        "return bytes_of(4) // 4",
        "tests/test_memory.py",
    ),
    Mutation(
        "micro-batches: the whole batch at once",
        "tardiff/diffusion.py",
        "if size is None or len(y) <= size or not torch.is_grad_enabled():",
        "if True:",
        "tests/test_memory.py",
    ),
    Mutation(
        "micro-batches: every one is kept",
        "tardiff/diffusion.py",
        "torch.cat([checkpoint(network, *part, use_reentrant=False) for part in parts])",
        "torch.cat([network(*part) for part in parts])",
        "tests/test_memory.py",
    ),
    Mutation(
        "micro-batches: levels of another part",
        "tardiff/diffusion.py",
        "levels.split(size), y.split(size), strict=True)",
        "levels.flip(0).split(size), y.split(size), strict=True)",
        "tests/test_memory.py",
    ),
    Mutation(
        "micro-batch: part of what a model is known by",
        "tardiff/train.py",
        '    section.pop("micro_batch")',
        '    section["micro_batch"]',
        "tests/test_memory.py",
    ),
    Mutation(
        "sampling batch: recorded as asked, not as used",
        "tardiff/inputs.py",
        "    return dataclasses.replace(config, sampler=dataclasses.replace(sampler, "
        "batch_size=size))\n",
        "    return config\n",
        "tests/test_memory.py",
    ),
    Mutation(
        "freed memory: given back by the processes that are started",
        "configs/freed_memory.py",
        "            os.environ.update(dict.fromkeys(names, str(size)))\n",
        "",
        "tests/test_freed_memory.py",
    ),
    Mutation(
        "freed memory: the second limit set where the first was refused",
        "configs/freed_memory.py",
        "        if mallopt(MAPPED[0], size) == 1:\n",
        "        if mallopt(MAPPED[0], size) == 1 or True:\n",
        "tests/test_freed_memory.py",
    ),
    Mutation(
        "freed memory: the user's own limit overruled",
        "configs/freed_memory.py",
        "if tuned or any(name in os.environ for name in names):",
        "if False:",
        "tests/test_freed_memory.py",
    ),
]
COMPILED = [
    Mutation(
        "compiled sampling: outputs left in the buffer of the CUDA graph",
        "tardiff/compiled.py",
        "return self.network(x_t, log_snr, y).clone()",
        "return self.network(x_t, log_snr, y)",
        "tests/test_compiled.py",
    ),
    Mutation(
        "compiled sampling: workers get an uncompiled network unsaid",
        "configs/checks.py",
        "if config.sampler.compile and config.generation.workers > 1:",
        "if False:",
        "tests/test_compiled.py",
    ),
]
MUTATIONS = [*SHARES, *RANKS, *SPEED, *MEMORY, *COMPILED]
