"""The ledger: where the printed page is known to differ from what honest work gives, each with its reason and source.

A `Deviation` changes a verdict: the cell is DEVIATION instead of FAILED or WORSE, and only for the exact count that is
expected. A `Note` is a footnote: it explains a number or a choice and changes no verdict.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Deviation:
    """`cells`: glob patterns on targets `<table>/<row>[/<group>]/<column key>`; `expected`: the only count accepted."""

    key: str
    cells: tuple[str, ...]
    reason: str
    source: str
    expected: int | None = None


@dataclass(frozen=True)
class Note:
    """A footnote to the cells that `cells` match, or to whole tables ("table5")."""

    key: str
    cells: tuple[str, ...]
    text: str
    source: str


LEDGER: tuple[Deviation, ...] = (
    Deviation(
        "kinetics-head",
        ("table9/PyConvResNet3D-50/params", "table10/pyconvresnet3d50/params"),
        "the printed 44.91 does not follow from the printed 400-way classifier, which gives 45,373,072 parameters; "
        "a 174-way classifier gives 44,909,998",
        "counted from Table 9's own architecture; ResNet3D-50 beside it matches with 400 classes",
        expected=45_373_072,
    ),
)

NOTES: tuple[Note, ...] = (
    Note(
        "table-numbers",
        ("table5", "table6"),
        'appendix A.3 calls Tables 5 and 6 by one number too low ("Table 4", "Table 5")',
        "appendix A.3",
    ),
    Note(
        "group-rule",
        ("table1", "table9"),
        "section 3's rule (groups closest to K_i^2/K_1^2 among the divisors) would give 2, 4 and 8 groups for 5x5, 7x7 "
        "and 9x9 kernels; the paper's networks use 4, 8 and 16, as printed here",
        "section 3 beside Table 1",
    ),
    Note(
        "schedule-step",
        ("table2", "table3", "table4"),
        'the learning rate is divided "at the 30-th, 60-th and 80-th epochs", read as after so many whole epochs '
        "(Recipe.milestones = (30, 60, 80)): epochs 31, 61, 81 counted from 1 are the first ones at the new rate; the "
        "authors' script, which steps its schedule at the start of an epoch, does the same with PyTorch 1.0 and drops "
        "one epoch earlier with later versions",
        "section 6, with the text on Figure 7; the authors' released training script",
    ),
    Note(
        "batch-norm-images",
        ("table2", "table3", "table4"),
        "how many images share a batch norm is not stated; it is read as what each of the 8 GPUs has of the batch: "
        "Recipe.batch_norm_batch = 32, and Recipe.batch_norm_batch = 128 with CutMix",
        "section 6 (8 GPUs); the authors' released training script",
    ),
    Note(
        "last-epoch",
        ("table2", "table3", "table4"),
        "whether the best or the last epoch is reported is not stated, and the authors' script keeps both files; the "
        'last is tested here (Protocol.weights = "last"), because the best one is chosen on the test images',
        "section 6; the authors' released training script",
    ),
    Note(
        "cutmix-settings",
        ("table4",),
        "CutMix's probability and beta are not stated; CutMix's own setting for ImageNet is used: "
        "ImageNetAugment.cutmix_prob = 1.0, ImageNetAugment.cutmix_beta = 1.0",
        "section 6; Yun et al., ICCV 2019",
    ),
    Note(
        "cosine-steps",
        ("table4",),
        "whether the cosine falls by epoch or by iteration is not stated; it falls once an epoch here, as the step "
        "schedule of the authors' script does (Recipe.lr_at)",
        "inferred from the authors' released training script",
    ),
    Note(
        "augmented-lr",
        ("table4",),
        "the learning rate at a batch of 1024 images and a warm-up are not stated; the linear rule and no warm-up are "
        "used: Recipe.lr = 0.4, Recipe.warmup_epochs = 0.0",
        "inferred; Goyal et al., arXiv 1706.02677, whom the paper follows",
    ),
    Note(
        "resize-320",
        ("table4",),
        "the resize before the 320x320 crop is not stated; the ratio of crop and short side at 224 is kept: "
        "Protocol.resize = 366",
        "inferred from 256 to 224 in the authors' released training script",
    ),
    Note(
        "flip-averaging",
        ("table5", "table6", "table7"),
        'the authors\' test averages each image with its mirror image in "single scale" too; the counts include the '
        "auxiliary branch at 473x473",
        "the authors' released configuration",
    ),
    Note(
        "crop617",
        ("table7/pyconvsegnet152-617/miou", "table7/pyconvsegnet152-617/pixel_acc"),
        "the base size of the test with 617x617 crops is not stated",
        "section 6",
    ),
    Note(
        "ssd-recipe",
        ("table8",),
        "default boxes, matching and test thresholds are not printed; they are inferred from the public SSD300 recipe "
        "whose schedule the paper's equals when doubled",
        "appendix A.1",
    ),
    Note(
        "kinetics-clips",
        ("table10",),
        '"skip four frames" can mean every fourth or every fifth frame (here: fourth), and copies of the validation '
        "set differ in size (19,404 to 19,796 videos)",
        "appendix A.2",
    ),
)


def footnote(entry: Deviation | Note) -> str:
    """The entry as a footnote: a sentence with its source."""
    text = entry.reason if isinstance(entry, Deviation) else entry.text
    return f"{text[0].upper()}{text[1:]} ({entry.source})."


def known(target: str) -> Deviation | None:
    """The ledger's entry for the cell `target`, e.g. "table10/pyconvresnet3d50/params"."""
    return next((entry for entry in LEDGER if _matches(entry.cells, target)), None)


def notes(target: str) -> list[Note]:
    """The notes on a cell ("table8/ssd50/params") or on a whole table ("table8")."""
    return [note for note in NOTES if _matches(note.cells, target)]


def _matches(patterns: tuple[str, ...], target: str) -> bool:
    return any(fnmatchcase(target, pattern) for pattern in patterns)
