"""Tables of the names that other languages and libraries use, for hints where a name is unknown.

One table for each kind of name. A key is in lower case without underscores; an entry is what netc writes, or a sentence
that has it in backticks. Keras, PyTorch, scikit-learn and pandas are the libraries that most users come from.
"""

from collections.abc import Collection, Mapping
from enum import Enum

from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.foreign_words import JOINED


class Kind(Enum):
    """The kind of thing that an unknown name would have to name."""

    VALUE = "a layer, loss, metric, operation or value of a model"
    ARGUMENT = "an argument of a call"
    TYPE = "a type"
    INITIALISER = "an initialiser"
    SETTING = "a setting of `train`"
    OPTIMIZER = "an optimizer"
    READER = "a reader of data"
    STEP = "a step of a field"
    COLUMNS = "what a field begins with"
    SPLIT = "a way to split"
    PART = "a part of the data"
    WORD = "a word that a setting takes"
    SECTION = "a block of a file"


def synonym(name: str, kind: Kind, candidates: Collection[str] | None) -> Hint | None:
    """The hint for a name that netc does not have; None if the table of its kind does not list it.

    An argument is only suggested if it is one of the candidates, which are those of the call; None if no call is known.
    """
    entry = _TABLES[kind].get(name.lower().replace("_", ""))
    if entry is None or "`" in entry:
        return Hint(entry) if entry is not None else None
    if kind is Kind.ARGUMENT and candidates is not None and entry not in candidates:
        return None
    return Hint(f"did you mean `{entry}`?", *([Change(entry, name)] if entry.isidentifier() else []))


# Steps of the block `data` whose names a model does not have. tests/dsl/test_synonyms.py compares them with the steps.
STEPS_OF_DATA = (
    *("standardize", "minmax", "scale", "bucket", "classes", "characters", "words", "ends", "vocabulary", "impute"),
    *("strip", "lowercase", "normalize_unicode", "number", "date", "cycle", "ngrams", "window", "next", "train_only"),
)


# Readers of data, whose names a model does not have either.
READERS_OF_DATA = ("csv", "parquet", "jsonl", "json", "arrow", "xlsx", "sql", "npz", "text", "idx", "images")


# Changes of pictures, whose names a model does not have, with their arguments.
CHANGES_OF_PICTURES = {"flip": "flip(horizontal)", "rotate": "rotate(10)", "crop": "crop(4)", "noise": "noise(0.1)"}


def data_step(name: str) -> str | None:
    """The hint for a name in a model that is a step of the data; None for any other name."""
    if name in CHANGES_OF_PICTURES:
        change = CHANGES_OF_PICTURES[name]
        return f"`{name}` belongs to the block `data`: `image = ... -> train_only({change})`"
    if name not in STEPS_OF_DATA:
        return None
    return f"`{name}` is a step of the data: `x = ... -> {name}` in the block `data`; `netc ops {name}` explains it"


def _table(entries: Mapping[str, str]) -> dict[str, str]:
    """The entries by single names; a key may list several that mean the same."""
    return {name: entry for names, entry in entries.items() for name in names.split()}


_ACTIVATION = "an activation follows its layer: `x -> dense(64) -> relu`"
_INPUT = "`input x: float[4]` in `model` says the shape of an input"
_NUMBERS = "`float[4]` is four numbers, and `class(10)` one of ten labels"

_TABLES: Mapping[Kind, Mapping[str, str]] = {
    Kind.VALUE: _table(
        {
            "linear fullyconnected fc affine lazylinear": "dense(64)",
            "conv1d conv2d convolution convolution1d convolution2d": "conv(32, kernel = 3)",
            "conv1dtranspose conv2dtranspose convtranspose convtranspose1d convtranspose2d": "conv_transpose(32)",
            "depthwiseconv2d depthwiseconv1d separableconv2d": "depthwise(3)",
            "maxpooling maxpooling1d maxpooling2d maxpool1d maxpool2d": "maxpool(2)",
            "averagepooling1d averagepooling2d avgpool1d avgpool2d meanpool": "avgpool(2)",
            "globalaveragepooling1d globalaveragepooling2d adaptiveavgpool adaptiveavgpool1d adaptiveavgpool2d "
            "globalavgpool1d globalavgpool2d": "global_avgpool",
            "globalmaxpool globalmaxpooling2d adaptivemaxpool2d": "max(x, over = (0, 1))",
            "globalmaxpooling1d adaptivemaxpool1d": "max(x, over = 0)",
            "pixelshuffle": "depth_to_space(x, 2)",
            "resize": 'the reader makes all pictures of one size: `source = images("folder", size = (28, 28))`',
            "upsampling1d upsampling2d interpolate": "upsample(2)",
            "zeropadding1d zeropadding2d": "pad(x, 1)",
            "batchnormalization batchnorm1d batchnorm2d": "batchnorm",
            "layernormalization": "layernorm",
            "groupnormalization groupnorm2d": "groupnorm(8)",
            "instancenorm instancenorm1d instancenorm2d": "`groupnorm(16)`, with as many groups as channels",
            "rmsnorm": "x * rsqrt(unsqueeze(mean(x * x, over = -1)) + 0.00001)",
            "normalize l2normalize unitnorm": "x / norm(x)",
            "dropout1d dropout2d spatialdropout1d spatialdropout2d alphadropout": "dropout(0.2)",
            "embedding embeddings": "embed(32)",
            "simplernn": "rnn(64)",
            "positionalencoding positionalembedding sinepositionencoding": "positions",
            "rnncell": "rnn_cell(x, h)",
            "grucell": "gru_cell(x, h)",
            "lstmcell": "lstm_cell(x, h, c)",
            "bilstm": "bidirectional(lstm(64))",
            "bigru": "bidirectional(gru(64))",
            "timedistributed": "a layer applies to each step: `x -> dense(64)`",
            "multiheadattention scaleddotproductattention": "self_attention(heads = 4)",
            "crossattention": "attention(q, k, v, heads = 4)",
            "transformerencoder transformerencoderlayer": "x + self_attention(layernorm(x), heads = 4)",
            "leakyrelu": "leaky_relu",
            "swish": "silu",
            "relu6": "clip(x, 0, 6)",
            "hardtanh": "clip(x, -1, 1)",
            "hardsigmoid": "clip(x / 6 + 0.5, 0, 1)",
            "hardswish": "x * clip(x + 3, 0, 6) / 6",
            "mish": "x * tanh(softplus(x))",
            "selu": "where(x > 0, 1.0507 * x, 1.7581 * expm1(minimum(x, 0)))",
            "softsign": "x / (1 + abs(x))",
            "logsigmoid": "-softplus(-x)",
            "softmin": "softmax(-x)",
            "gumbelsoftmax": "softmax(x - log(-log(uniform_like(x))))",
            "prelu": "`where(x > 0, x, slope * x)`, with a parameter of your own",
            "glu": "`x[:4] * sigmoid(x[4:])` of eight numbers",
            "view": "reshape(x, 4, 4)",
            "permute swapaxes": "transpose",
            "concatenate cat hstack": "concat(a, b)",
            "vstack": "stack(a, b)",
            "roll": "concat(x[1:], x[:1], over = 0)",
            "repeat tile repeatvector": "broadcast(unsqueeze(x, 0), 3, 4)",
            "expand": "broadcast(x, 3, 4)",
            "eye": "where(unsqueeze(arange(4)) == arange(4), 1, 0)",
            "diag diagonal": "where(unsqueeze(arange(4)) == arange(4), x, 0)",
            "trace": "sum(where(unsqueeze(arange(4)) == arange(4), x, 0))",
            "tril": "where(unsqueeze(arange(4)) >= arange(4), x, 0)",
            "triu": "where(unsqueeze(arange(4)) <= arange(4), x, 0)",
            "linspace": "arange(5) / 4",
            "meshgrid": "`unsqueeze(arange(4))` and `arange(4)` are repeated where they meet",
            "argmin": "argmax(-x, over = -1)",
            "sort argsort topk kthvalue": "`max(x)` is the largest element, and `max(where(x >= max(x), -1e30, x))` "
            "the next one: netc does not sort",
            "median": "`quantile(x, 0.5)` is a metric over all samples",
            "any": "max(where(x > 0, 1, 0))",
            "all": "min(where(x > 0, 1, 0))",
            "prod cumprod": "`exp(sum(log(x)))` and `exp(cumsum(log(x)))` are products of positive numbers",
            "log2 log10": "log(x) / log(2)",
            "logaddexp": "logsumexp(stack(a, b), over = 0)",
            "heaviside": "where(x > 0, 1, 0)",
            "bernoulli": "where(uniform_like(x) < x, 1, 0)",
            "maskedfill": "where(mask, -1e30, x)",
            "takealongdim takealongaxis indexselect": "`gather(table, i)`, or of a value of the sample "
            "`one_hot(i) @ x`",
            "cdist": "sum((unsqueeze(x, 1) - unsqueeze(y, 0)) ** 2, over = -1)",
            "activation": _ACTIVATION,
            "t": "transpose(x)",
            "sequential functional modulelist": JOINED,
            "inputs inputlayer placeholder": _INPUT,
            "crossentropyloss crossentropy categoricalcrossentropy sparsecategoricalcrossentropy logloss "
            "softmaxcrossentropy": "cross_entropy(logits, label)",
            "binarycrossentropy bceloss bce bcewithlogits bcewithlogitsloss": "binary_cross_entropy(logit, y)",
            "meansquarederror mseloss squarederror l2loss": "mse(estimate, y)",
            "meanabsoluteerror maeloss l1loss": "`loss mean(abs(estimate - y))`, and `mae` as a metric",
            "rootmeansquarederror": "rmse(estimate, y)",
            "huberloss smoothl1loss smoothl1": "huber(estimate, y)",
            "nllloss": "nll(logp, label)",
            "kldivergence kldivloss kldiv": "kl(mu, logvar)",
            "hingeloss categoricalhinge multimarginloss": "hinge(scores, label)",
            "focal focalloss sigmoidfocalloss": "`loss (1 - exp(-e)) ** 2 * e` of a cross entropy e",
            "dice diceloss": "`loss 1 - (2 * sum(p * y) + 1) / (sum(p) + sum(y) + 1)`",
            "triplet tripletloss tripletmarginloss": "relu(sum((a - same) ** 2) - sum((a - other) ** 2) + 1)",
            "poissonnllloss": "exp(z) - y * z",
            "gaussiannllloss": "`loss 0.5 * (log(v) + (y - m) ** 2 / v)`",
            "cosinesimilarity cosineembeddingloss": "cosine_distance(a, b)",
            "accuracyscore binaryaccuracy categoricalaccuracy sparsecategoricalaccuracy acc": "accuracy(logits, label)",
            "rocauc rocaucscore auroc": "auc(scores, label)",
            "r2score": "r2(estimate, y)",
            "confusionmatrix": "confusion(logits, label)",
            "topkcategoricalaccuracy topkaccuracy": "top_k(logits, label, k = 5)",
            "var": "variance(x)",
            "std stddev": "sqrt(variance(x))",
            "pow": "x ** y",
            "mm bmm dot mul": "`x @ w` is a matrix product, `x * y` one of elements",
            "randn randnlike normal": "normal_like(x)",
            "rand randlike uniform": "uniform_like(x)",
            "detach nograd": "stop_gradient(x)",
            "len shape": "`size(label)` is the number of classes, and a dimension's name is its length",
            "true false": "`true` and `false` begin with a small letter",
            "none null": "leave it out: netc has no `none`",
            "while": "for i in 0..3 { }",
            "reduceonplateau reducelronplateau": "schedule = plateau(patience = 5)",
            "cosineannealing cosineannealinglr cosinedecay cosineschedule": "cosine()",
            "steplr multisteplr steplrschedule piecewiseconstantdecay": "step_decay(every = 10, factor = 0.5)",
            "exponentiallr exponentialdecay": "exponential(factor = 0.95)",
        }
    ),
    Kind.ARGUMENT: _table(
        {
            "learningrate rate": "lr",
            "activation": _ACTIVATION,
            "units outfeatures filters outchannels features": "the number comes first, without a name: `dense(64)`",
            "infeatures inchannels inputdim inputshape inputsize": "the size of an operand is known: `dense(64)`",
            "kernelsize": "kernel",
            "strides": "stride",
            "padding": "pad",
            "poolsize": "size",
            "dilationrate": "dilation",
            "depthmultiplier channelmultiplier multiplier": "m",
            "dim axis axes": "over",
            "numheads nhead": "heads",
            "iscausal": "causal",
            "weightdecay l2": "decay",
            "beta": "beta1",
            "betas": "`beta1 = 0.9, beta2 = 0.999`",
            "epsilon": "eps",
            "p": "the rate comes first, without a name: `dropout(0.2)`",
            "sep delim": "delimiter",
            "navalues": "missing",
            "skiprows": "header",
            "warmupepochs warmupsteps": "warmup",
            "gamma": "factor",
            "stepsize": "every",
            "returnsequences": "leave it out: the result has all steps; `-> last` takes the last one",
            "returnstate": "the result has all steps, and `last(states)` is the last one",
            "gobackwards": "`reverse(x, over = 0) -> lstm(64)` reads from the end; `bidirectional(lstm(64))` both ways",
            "batchfirst": "leave it out: the batch is not a dimension of a value",
            "layers numlayers nlayers": "one after the other: `x -> lstm(64) -> lstm(64)`",
            "recurrentdropout dropoutrate": "dropout is a layer of its own: `x -> dense(64) -> relu -> dropout(0.2)`",
            "bias usebias": "a product without a bias: `param w: float[4, 8]`, then `x @ w`",
            "kernelregularizer regularizer": "a setting of training: `optimizer = adamw(decay = 0.01)`",
            "kernelinitializer initializer biasinitializer weightinit": "a parameter of your own says how it begins: "
            "`param w: float[4, 8] = he_normal`",
            "trainable requiresgrad": 'a setting of training: `freeze = "features.*"`',
            "mode interpolation aligncorners": "`upsample` repeats elements, and `upsample_bilinear` interpolates",
            "inplace": "leave it out: netc decides where a value lies",
            "reduction": "leave it out: a loss is the mean over the samples",
            "fromlogits": "leave it out: `cross_entropy` takes logits",
            "outputdim embeddingdim": "the number comes first, without a name: `embed(32)`",
            "numembeddings vocabsize": "the label knows its classes: `letters -> embed(32)`",
        }
    ),
    Kind.TYPE: _table(
        {
            "int integer long int32 int64": "`class(10)` is one of ten labels, `float` any number",
            "string str text category categorical label enum": "class(auto)",
            "float16 float32 real number f32": "float",
            "float64 double f64": "`float`, with `precision = f64` in `train`",
            "bfloat16 bf16 half f16": "`float`, with `precision = bf16` in `train`",
            "boolean": "bool",
            "tensor array vector matrix ndarray list": _NUMBERS,
            "image picture": "float[28, 28, 1]",
            "sequence series": "float[time, 3]",
        }
    ),
    Kind.INITIALISER: _table(
        {
            "xavieruniform xavier": "glorot_uniform",
            "xaviernormal": "glorot_normal",
            "kaiminguniform": "he_uniform",
            "kaimingnormal kaiming": "he_normal",
            "randomnormal randn truncatednormal gaussian": "normal(0.1)",
            "randomuniform rand": "uniform(-0.1, 0.1)",
            "zero": "zeros",
            "one": "ones",
        }
    ),
    Kind.SETTING: _table(
        {
            "numepochs nepochs maxepochs iterations maxiter nepoch": "epochs",
            "batchsize": "batch",
            "learningrate lr weightdecay momentum": "it belongs to the optimizer: `optimizer = adam(lr = 0.001)`",
            "loss lossfunction criterion objective": "a loss belongs to `model`: `loss cross_entropy(logits, label)`",
            "metric metrics": "a metric belongs to `model`: `metric accuracy(logits, label)`",
            "solver optim optimiser": "optimizer",
            "randomstate randomseed": "seed",
            "earlystopping patience": "early_stop = (metric = valid.loss, patience = 5)",
            "savebest savebestonly restorebestweights modelcheckpoint": "keep = best(valid.loss)",
            "gradclip gradientclip clipnorm clipgradnorm maxgradnorm globalclipnorm": "clip_norm = 1",
            "clipgradvalue": "clip_value = 1",
            "scheduler lrscheduler lrschedule learningratescheduler": "schedule = cosine()",
            "gradaccumulation accumulategradbatches gradientaccumulationsteps": "accumulate = 4",
            "validationsplit testsize validationfraction": "it belongs to `data`: `split = (train = 0.8, valid = 0.2)`",
            "dtype": "precision = f64",
            "amp autocast mixedprecision bfloat16 bf16 half fp16": "precision = bf16",
            "pretrained checkpoint weights initfrom": 'start_from = "runs/other"',
            "verbose progressbar": "an option says how much is printed: `netc train M.net --quiet`",
            "callbacks callback": "`early_stop = (metric = valid.loss, patience = 5)` and `keep = best(valid.loss)`",
            "device gpu cuda accelerator": "netc trains on the processor: `netc train M.net --threads 4`",
            "numworkers njobs workers threads": "an option says it: `netc train M.net --threads 4`",
            "validationdata": "it belongs to `data`: `split = (train = 0.8, valid = 0.2)`",
            "split": "it belongs to `data`: `split = (train = 0.8, valid = 0.2)`",
            "source data dataset": 'it belongs to `data`: `source = csv("data.csv")`',
            "stepsperepoch": "an epoch takes each sample once; `batch = 32` says how many a step takes",
            "classweight classweights sampleweight": "it belongs to the loss: "
            "`loss weighted(cross_entropy(logits, label), class_weights(label)[label])`",
        }
    ),
    Kind.OPTIMIZER: _table(
        {
            "momentum nesterov": "sgd(0.01, momentum = 0.9)",
            "nadam adamax radam amsgrad lion": "adam(lr = 0.001)",
            "lbfgs gd gradientdescent": "sgd(0.01)",
        }
    ),
    Kind.READER: _table(
        {
            "readcsv tsv readtable loadtxt genfromtxt dataframe": 'csv("table.csv")',
            "excel xls readexcel": 'xlsx("table.xlsx")',
            "readparquet": 'parquet("table.parquet")',
            "ndjson jsonlines readjsonl": 'jsonl("table.jsonl")',
            "imagefolder image folder pictures imagedatasetfromdirectory flowfromdirectory": 'images("folder")',
            "npy numpy npload": 'npz("arrays.npz")',
            "mnist ubyte": 'idx("folder")',
            "txt readtext textlinedataset": 'text("words.txt")',
        }
    ),
    Kind.STEP: _table(
        {
            "normalize normalise normalization scaler rescaling": "`standardize` gives mean 0 and variance 1, `minmax` "
            "the range from 0 to 1",
            "standardscaler standardise standardization zscore robustscaler": "standardize",
            "minmaxscaler maxabsscaler": "minmax",
            "rescale divide multiply": "scale(1 / 255)",
            "fillna fill simpleimputer imputer interpolate ffill": "impute(median)",
            "dropna": "impute(drop)",
            "getdummies onehotencoder onehotencoding onehotencode dummies tocategorical dummy": "one_hot",
            "labelencoder labelencode ordinalencoder factorize category categorical encode codes": "classes",
            "todatetime datetime parsedate parsedates strptime timestamp": "date",
            "countvectorizer tfidfvectorizer tfidf hashingvectorizer bagofwords": "ngrams(3, 1000)",
            "tokenize tokenizer split": "`words` or `characters`, then `vocabulary(1000)`",
            "textvectorization stringlookup embedding embed": "vocabulary(1000)",
            "lower tolower casefold": "lowercase",
            "trim": "strip",
            "tonumeric astype parsenumber currency percent": 'number("€ 1,234.50")',
            "cut qcut kbinsdiscretizer discretize bin bins digitize quantize": "bucket(10)",
            "nfc": "normalize_unicode",
            "log1p logarithm logtransform": "log",
            "clamp winsorize": "clip(0, 1)",
            "rollingwindow sliding lag timeseriesgenerator": "window(24, 1)",
            "resize centercrop thumbnail": "the reader makes all pictures of one size: "
            '`source = images("folder", size = (28, 28))`',
            "flip randomverticalflip": "train_only(flip(horizontal))",
            "augment randomflip randomhorizontalflip randomcrop": "train_only(flip(horizontal) -> shift(2))",
        }
    ),
    Kind.COLUMNS: _table(
        {
            "col feature usecols iloc loc": 'column("name")',
            "cols features": 'columns("first", "second")',
            "drop": 'columns(all, except = "name")',
        }
    ),
    Kind.SPLIT: _table(
        {
            "random shuffle stratified stratify traintestsplit shufflesplit stratifiedshufflesplit": "each part gets "
            "its share of each class: `split = (train = 0.8, valid = 0.1, test = 0.1)`",
            "kfold stratifiedkfold crossvalidation cv": "folds(5)",
            "groupkfold": 'folds(5, by = "patient")',
            "group groups groupshufflesplit": 'by("patient", train = 0.8, test = 0.2)',
            "sequential chronological time timeseriessplit": "ordered(train = 0.8, test = 0.2)",
        }
    ),
    Kind.SECTION: _table(
        {
            "dataset datasets input inputs source": "data",
            "network net nn module architecture layers graph": "model",
            "training trainer fit optimizer optimiser loss solver settings": "train",
            "tune tuning search sweep hyperparameters optuna": "study",
        }
    ),
    Kind.WORD: _table(
        {
            "float32 single fp32 f": "f32",
            "float64 double fp64 d": "f64",
            "bfloat16 float16 half fp16 f16 mixed mixedbfloat16 mixedfloat16": "bf16",
        }
    ),
    Kind.PART: _table(
        {
            "stratify stratified": "leave it out: `(train = 0.8, test = 0.2)` gives each part its share of each class",
            "shuffle": "leave it out: rows are divided at random; `ordered(train = 0.8, test = 0.2)` keeps their order",
            "randomstate randomseed": "seed",
            "val validation dev eval validationset": "valid",
            "training fit trainset": "train",
            "testing holdout testset": "test",
            "calib cal calibrate calibrationset": "calibration",
        }
    ),
}
