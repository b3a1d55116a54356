"""The words of the blocks `train` and `study`, each with an example and a description."""

from collections.abc import Mapping

from netc.dsl.word import Section, Word

SETTING_WORDS: Mapping[str, Word] = {
    # ------------------------------------------------------------ training
    "optimizer": Word("optimizer = adam(lr = 0.001)", Section.TRAIN, "The rule by which parameters are updated."),
    "batch": Word("batch = 32", Section.TRAIN, "The number of samples in one step of training."),
    "epochs": Word("epochs = 10", Section.TRAIN, "How often training goes through all samples."),
    "seed": Word("seed = 1", Section.TRAIN, "The number from which all random numbers follow (default: 0)."),
    "shuffle": Word("shuffle = false", Section.TRAIN, "Whether each epoch has a new order of samples (default: true)."),
    "precision": Word(
        "precision = f64",
        Section.TRAIN,
        "The numbers to compute with: `f32` (the default), `f64`, or `bf16`, which halves the memory of products.",
    ),
    "schedule": Word(
        "schedule = cosine(warmup = 5)",
        Section.TRAIN,
        "A factor on the learning rate: `cosine`, `step_decay`, `exponential`, `plateau(patience = 5)`, or an "
        "expression of `step`, `epoch`, `epochs` and `progress`.",
    ),
    "plateau": Word(
        "schedule = plateau(patience = 5, factor = 0.5, metric = valid.loss)",
        Section.TRAIN,
        "A schedule that lowers the learning rate by `factor` when a metric has not improved for `patience` epochs.",
    ),
    "early_stop": Word(
        "early_stop = (metric = valid.loss, patience = 5)",
        Section.TRAIN,
        "Ends training when a metric has not improved for `patience` epochs. `keep` says which parameters are saved.",
    ),
    "keep": Word(
        "keep = best(valid.loss)",
        Section.TRAIN,
        "Which parameters the run keeps: `best(...)` those of the best epoch by a metric, `average(0.999)` a running "
        "mean of them, and without it those of the last epoch.",
    ),
    "best": Word(
        "keep = best(max(valid.accuracy))",
        Section.TRAIN,
        "In `keep`: parameters of the epoch with the best metric.",
    ),
    "average": Word(
        "keep = average(last = 5)",
        Section.TRAIN,
        "In `keep`: the mean of the parameters over steps, `average(0.999)`, or over the ends of the last epochs.",
    ),
    "clip_norm": Word("clip_norm = 1", Section.TRAIN, "The largest norm of the gradient; a larger one is scaled down."),
    "clip_value": Word("clip_value = 1", Section.TRAIN, "The largest absolute value of each element of the gradient."),
    "accumulate": Word(
        "accumulate = 4", Section.TRAIN, "The number of batches in one step, which has the gradient of one large batch."
    ),
    "shards": Word(
        "shards = 16",
        Section.TRAIN,
        "The parts in which a sum over the batch is computed, a power of two; more of them for more ranks of MPI.",
    ),
    "truncate": Word(
        "truncate = (time = 100)",
        Section.TRAIN,
        "Trains long sequences in chunks: states pass from each chunk to the next, gradients do not.",
    ),
    "memory": Word(
        'memory = "2 GB"',
        Section.TRAIN,
        "The largest memory of a step; if needed, scans compute values again in place of keeping them.",
    ),
    "freeze": Word('freeze = "features.*"', Section.TRAIN, "Parameters that training does not change, by a pattern."),
    "lr_scale": Word(
        'lr_scale = ("features.*" = 0.1)', Section.TRAIN, "Factors on the learning rate of some parameters."
    ),
    "loss_scale": Word(
        "loss_scale = (kl = minimum(1, epoch / 5))",
        Section.TRAIN,
        "Factors on some losses while training.",
    ),
    "start_from": Word(
        'start_from = "runs/other"',
        Section.TRAIN,
        "A run whose parameters this one begins with.",
    ),
    # ------------------------------------------------------------ a study
    "trials": Word("trials = 50", Section.STUDY, "How many trainings a study tries (default: 100)."),
    "time": Word('time = "2 h"', Section.STUDY, "After how long a study begins no further trial."),
    "search": Word(
        "search = tpe",
        Section.STUDY,
        "How a study chooses values: `grid`, `random`, `sobol`, `tpe` or `cmaes`. "
        "By default `grid` if `trials` are enough for all combinations, else `tpe`.",
    ),
    "prune": Word("prune = asha", Section.STUDY, "How a study gives up trials early: `median` or `asha`."),
    "compare": Word("compare = max(valid.accuracy)", Section.STUDY, "The metric by which a study compares its trials."),
    "choice": Word("width = choice(16, 32, 64)", Section.STUDY, "A setting of a study: one of some values."),
    "int": Word("layers = int(1, 6)", Section.STUDY, "A setting of a study: a whole number between two bounds."),
    "seeds": Word("seeds = 3", Section.STUDY, "With how many seeds a study trains each trial; the mean is compared."),
    "round": Word("round = 8", Section.STUDY, "How many trials a study begins before it looks at their results."),
}
