"""Mutations of what keeps numbers finite, patients private and trainings resumable."""

from benchmarks.mutation_list import Mutation

NUMERICS = [
    Mutation(
        "not finite: training loss",
        "tardiff/diffusion.py",
        "if not torch.isfinite(loss):",
        "if False:",
        "tests/test_diffusion.py",
    ),
    Mutation(
        "not finite: sampled series",
        "tardiff/samplers.py",
        "if not finite.all():",
        "if False:",
        "tests/test_samplers.py tests/test_guided.py",
    ),
    Mutation(
        "not finite: guidance gradient",
        "tardiff/guide.py",
        "    if odd:\n",
        "    if False:\n",
        "tests/test_precondition.py tests/test_influence.py",
    ),
    Mutation(
        "not finite: classifier's logits",
        "classifier/module.py",
        "if not torch.isfinite(logits).all():",
        "if False:",
        "tests/test_fit.py",
    ),
    Mutation(
        "not finite: series for a classifier",
        "classifier/batches.py",
        "if not torch.isfinite(x).all():",
        "if False:",
        "tests/test_fit.py",
    ),
    Mutation(
        "not finite: weights of a file",
        "classifier/trust.py",
        "if not weight.is_contiguous() or not torch.isfinite(weight).all():",
        "if False:",
        "tests/test_untrusted.py tests/test_pairings.py",
    ),
]
PRIVACY = [
    Mutation(
        "copies of training stays released",
        "tardiff/workplace.py",
        "if parts.config.generation.allow_copies:",
        "if True:",
        "tests/test_generate.py tests/test_shards.py",
    ),
    Mutation(
        "subject ids in the ranking of influence",
        "scripts/influence_sets.py",
        "        writer.writerow([row, label,",
        "        writer.writerow([ranked.data.subject_ids[row], label,",
        "tests/test_patient_traces.py",
    ),
    Mutation(
        "gradients not clipped",
        "tardiff/private_training.py",
        "            max_grad_norm=self.plan.max_grad_norm,\n",
        "            max_grad_norm=1e9,\n",
        "tests/test_private_training.py",
    ),
    Mutation(
        "half the noise",
        "tardiff/private_training.py",
        "            noise_multiplier=self.plan.noise_multiplier,\n",
        "            noise_multiplier=self.plan.noise_multiplier / 2,\n",
        "tests/test_private_training.py",
    ),
    Mutation(
        "gradients of chunks but the last lost",
        "tardiff/private_training.py",
        "            optimizer.clip_and_accumulate()\n",
        "",
        "tests/test_private_training.py",
    ),
    Mutation(
        "levels stratified over the private batch",
        "tardiff/private_training.py",
        "        return torch.cat(single)\n",
        "        return super()._draw_levels(count, generator)\n",
        "tests/test_private_training.py",
    ),
    Mutation(
        "stays drawn instead of patients",
        "tardiff/private_training.py",
        "return np.unique(ids, return_inverse=True)[1]",
        "return np.arange(len(ids))",
        "tests/test_private_training.py",
    ),
    Mutation(
        "half the sampling rate accounted for",
        "tardiff/privacy_account.py",
        "    rate = batch_size / patients\n",
        "    rate = 0.5 * batch_size / patients\n",
        "tests/test_private_training.py",
    ),
    Mutation(
        "the steps of the best model accounted for, not all",
        "tardiff/private_training.py",
        "return after(self.plan, self.trainer.global_step)",
        "return after(self.plan, self.trainer.global_step // 2)",
        "tests/test_private_training.py",
    ),
]
RESUME = [
    Mutation(
        "stage 2 resumes without its random states",
        "classifier/resume.py",
        '        self._random = state_dict["random"]\n',
        "",
        "tests/test_resume_classifier.py",
    ),
    Mutation(
        "stage 2 goes on behind its early stop",
        "classifier/resume.py",
        "trainer.should_stop or stop.wait_count >= stop.patience",
        "trainer.should_stop",
        "tests/test_resume_classifier.py",
    ),
    Mutation(
        "stage 2 takes the file of another training",
        "classifier/resume.py",
        "if key != self.key:",
        "if False:",
        "tests/test_resume_classifier.py",
    ),
]
MUTATIONS = [*NUMERICS, *PRIVACY, *RESUME]
