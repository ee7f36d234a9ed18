"""The paper's sentences as values: who is better than whom, by how much, at which cost.

In our own words, each with the place where the paper says it; `note` holds our reading where the paper gives no number,
and what cannot be checked. Where the appendix says "Table 4" and "Table 5" it means Tables 5 and 6. All of them hold on
the printed numbers, as far as those are readable.
"""

from experiments.terms import (
    COUNTS,
    Cell,
    Claim,
    Difference,
    Layers,
    Line,
    Part,
    Ratio,
    Term,
    difference,
    each,
    ratio,
    says,
)

__all__ = ["CLAIMS", "Cell", "Claim", "Difference", "Layers", "Ratio", "Term"]

_TOP1 = ("top1_err",)
_ERRORS = ("top1_err", "top5_err")
_AT_BOTH_CROPS = ("top1_err_224", "top5_err_224", "top1_err_320", "top5_err_320")
_QUALITY = ("miou", "pixel_acc")
_COCO = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar1", "ar10", "ar100", "ar_s", "ar_m", "ar_l")

_BASELINE, _2221, _3321, _4321, _TOP, _5432, _MAX, _FINAL = (
    Line(2, key) for key in ("baseline", "2221", "3321", "4321", "top4321", "5432", "4321max", "final")
)
_HG50, _RESNET152 = Line(3, "pyconvhgresnet", "50"), Line(3, "resnet", "152")
_PYCONV50, _RESNET50 = Line(3, "pyconvresnet", "50"), Line(3, "resnet", "50")
_PH8, _PSP8, _DEEPLAB8 = Line(5, "pyconvsegnet", "os8"), Line(5, "pspnet", "os8"), Line(5, "deeplabv3", "os8")
_SEG152 = Line(7, "pyconvsegnet152")
_VALIDATED = (
    *("fcn", "dilatednet", "segnet", "refinenet", "upernet", "psanet", "ke-gan", "cfnet", "ciss-net", "encnet"),
    *("pspnet152", "pspnet269"),
)
_SCORED = ("fcn", "dilatednet", "segnet", "encnet", "pspnet269")
_SSD = tuple((Line(8, f"pyconvssd{depth}"), Line(8, f"ssd{depth}")) for depth in (50, 101))
_VIDEO = (Line(10, "pyconvresnet3d50"), Line(10, "resnet3d50"))


def _ours_against(*others: str) -> list[tuple[Line, Line]]:
    """Both PyConv networks against `others` of Table 3, at each depth."""
    return [
        (Line(3, ours, depth), Line(3, other, depth))
        for depth in ("50", "101", "152")
        for ours in ("pyconvresnet", "pyconvhgresnet")
        for other in others
    ]


def _head_against(head: str, *others: str) -> list[tuple[Line, Line]]:
    """`head` of Table 5 against `others`, at both output strides."""
    return [(Line(5, head, group), Line(5, other, group)) for group in ("os8", "os16") for other in others]


CLAIMS: tuple[Claim, ...] = (
    *says(
        "hg50-beats-resnet152",
        "abstract; section 6, on Table 3",
        "PyConvHGResNet-50 has a lower top-1 error than ResNet-152, with 2.39 times fewer parameters, 2.52 times fewer "
        "FLOPs and more than 3 times fewer layers.",
        each(_TOP1, "<", (_HG50, _RESNET152)),
        ratio(_RESNET152, _HG50, "params", "~", 2.39, tolerance=0.005),
        ratio(_RESNET152, _HG50, "flops", "~", 2.52, tolerance=0.005),
        [Part("layers-ratio", Ratio(Layers(3, "resnet", "152"), Layers(3, "pyconvhgresnet", "50")), ">", 3)],
        note="The sentence is about top-1: the printed top-5 errors, 5.94 and 5.74, are the other way round.",
    ),
    *says(
        "flops-of-the-networks",
        "section 4, on Table 1",
        "PyConvResNet needs slightly fewer FLOPs than ResNet, PyConvHGResNet slightly more.",
        each(("flops",), "<", (_PYCONV50, _RESNET50), (_RESNET50, _HG50)),
    ),
    *says(
        "two-levels-help",
        "section 6, on Table 2",
        "Two pyramid levels instead of one take the top-1 error from 23.88 to 23.12, with fewer parameters and FLOPs.",
        each((*_TOP1, *COUNTS), "<", (_2221, _BASELINE)),
        difference(_BASELINE, _2221, "top1_err", "~", 23.88 - 23.12, tolerance=0.01),
    ),
    *says(
        "more-levels-help",
        "section 6, on Table 2",
        "More levels bring further improvement, up to 22.97 for (4, 3, 2, 1), with even fewer parameters and FLOPs.",
        each(_TOP1, "<", (_3321, _2221), (_4321, _3321)),
        each(COUNTS, "<", (_4321, _2221)),
        note="Steps of 0.14 and 0.01 points lie within the noise of one run.",
    ),
    *says(
        "top-level-alone-helps",
        "section 6, on Table 2",
        "The largest kernels alone, top(4, 3, 2, 1), already beat the baseline with fewer parameters and FLOPs.",
        each((*_ERRORS, *COUNTS), "<", (_TOP, _BASELINE)),
    ),
    *says(
        "five-levels-no-better",
        "section 6, on Table 2",
        "A further level with an 11x11 kernel, (5, 4, 3, 2), improves nothing further.",
        each(_TOP1, ">", (_5432, _4321)),
        note="A difference of 0.06 points lies within the noise of one run.",
    ),
    *says(
        "max-pool-on-the-shortcut",
        "section 4; section 6, on Table 2",
        "Moving the max pool to the first shortcut improves the top-1 error to 22.46, adds no parameters and hardly "
        "any FLOPs.",
        each(_TOP1, "<", (_MAX, _4321)),
        each(("params",), "==", (_MAX, _4321)),
        ratio(_MAX, _4321, "flops", "~", 1, tolerance=0.02),
        note="Hardly any is read as at most 2%.",
    ),
    *says(
        "final-network",
        "section 6, on Table 2",
        "Max pools on the shortcuts of all stages improve the top-1 error to 22.12, with fewer parameters and FLOPs "
        "than the baseline.",
        each(_TOP1, "<", (_FINAL, _MAX)),
        each(COUNTS, "<", (_FINAL, _BASELINE)),
    ),
    *says(
        "every-setting-beats-the-baseline",
        "section 6, on Table 2",
        "Whatever the setting of the pyramid, PyConv beats the baseline.",
        each(_ERRORS, "<", *((line, _BASELINE) for line in (_2221, _3321, _4321, _TOP, _5432, _MAX, _FINAL))),
    ),
    *says(
        "baseline-at-all-depths",
        "section 6, on Table 3",
        "Both PyConv networks beat ResNet by a large margin at 50, 101 and 152 layers.",
        each(_ERRORS, "<", *_ours_against("resnet")),
        note="The paper gives no number for a large margin.",
    ),
    *says(
        "pyconvresnet50-beats-resnet50",
        "section 6, on Table 3",
        "PyConvResNet-50 takes the top-1 error from 23.88 to 22.12 with fewer parameters and FLOPs.",
        each((*_TOP1, *COUNTS), "<", (_PYCONV50, _RESNET50)),
        difference(_RESNET50, _PYCONV50, "top1_err", "~", 23.88 - 22.12, tolerance=0.01),
    ),
    *says(
        "better-than-preact-and-resnext",
        "section 6, on Table 3",
        "Both PyConv networks are better than pre-activation ResNet and ResNeXt.",
        each(_ERRORS, "<", *_ours_against("preact_resnet", "resnext")),
    ),
    *says(
        "better-than-se",
        "section 6, on Table 3",
        "Both PyConv networks beat SE-ResNet, although its extra blocks make it the larger model.",
        each((*_ERRORS, "params"), "<", *_ours_against("se_resnet")),
    ),
    *says(
        "augmentation-helps",
        "section 6, on Table 4",
        "CutMix and 300 epochs improve PyConvResNet significantly at both depths.",
        each(
            _AT_BOTH_CROPS,
            "<",
            *((Line(4, f"pyconvresnet{depth}-augment"), Line(4, f"pyconvresnet{depth}")) for depth in (50, 101)),
        ),
    ),
    *says(
        "pyconvph-most-accurate",
        "section 6, on Table 5",
        "PyConvPH is more accurate than the heads of PSPNet and DeepLabv3, at both output strides.",
        each(_QUALITY, ">", *_head_against("pyconvsegnet", "pspnet", "deeplabv3")),
    ),
    *says(
        "pyconvph-most-efficient",
        "section 6, on Table 5",
        "PyConvPH needs far fewer parameters and FLOPs than the heads of PSPNet and DeepLabv3.",
        each(COUNTS, "<", *_head_against("pyconvsegnet", "pspnet", "deeplabv3")),
    ),
    *says(
        "baseline-head-worst",
        "section 6, on Table 5",
        "Without a strong head the results are significantly worse than with any of the three.",
        each(_QUALITY, "<", *_head_against("baseline", "pspnet", "deeplabv3", "pyconvsegnet")),
    ),
    *says(
        "pspnet-costs",
        "appendix A.3, on Table 5 (which it calls Table 4)",
        "PSPNet needs over 40% more parameters and FLOPs than PyConvSegNet.",
        ratio(_PSP8, _PH8, "params", ">", 1.4),
        ratio(_PSP8, _PH8, "flops", ">", 1.4),
    ),
    *says(
        "deeplabv3-costs",
        "appendix A.3, on Table 5 (which it calls Table 4)",
        "DeepLabv3 needs over 20% more parameters and close to 30% more FLOPs than PyConvSegNet.",
        ratio(_DEEPLAB8, _PH8, "params", ">", 1.2),
        ratio(_DEEPLAB8, _PH8, "flops", "~", 1.3, tolerance=0.02),
        note="Close to 30% is read as 28% to 32%.",
    ),
    *says(
        "beats-pspnet269",
        "section 6, on Table 7",
        "PyConvSegNet with a 152-layer backbone beats PSPNet with its 269 layers.",
        each(_QUALITY, ">", (_SEG152, Line(7, "pspnet269"))),
    ),
    *says(
        "state-of-the-art",
        "abstract; section 6, on Table 7",
        "PyConvSegNet sets a new state of the art on ADE20K.",
        each(("miou",), ">", *((_SEG152, Line(7, key)) for key in _VALIDATED)),
        each(("test_score",), ">", *((_SEG152, Line(7, key)) for key in _SCORED)),
        note="Read as: better than every line that Table 7 quotes. The scores come from the test server.",
    ),
    *says(
        "pyconvssd-beats-ssd",
        "appendix A.1, on Table 8",
        "PyConvSSD improves significantly over SSD in all metrics, at both depths.",
        each(_COCO, ">", *_SSD),
        note="The line of SSD-50 is lost in our copy of the paper but for the AP of large objects.",
    ),
    *says(
        "pyconvssd-more-efficient",
        "appendix A.1, on Table 8",
        "PyConvSSD needs fewer parameters and FLOPs than SSD, at both depths.",
        each(COUNTS, "<", *_SSD),
        note="The counts of SSD-50 are computed, not published: they are lost in our copy of the paper.",
    ),
    *says(
        "pyconvssd50-competitive-with-ssd101",
        "appendix A.1, on Table 8",
        "PyConvSSD with 50 layers is competitive with SSD with 101 layers.",
        difference(Line(8, "pyconvssd50"), Line(8, "ssd101"), "ap", "~", 0, tolerance=0.5),
        note="Competitive is read as within half a point of AP.",
    ),
    *says(
        "video-beats-baseline",
        "appendix A.2, on Table 10",
        "PyConvResNet3D-50 takes the top-1 error from 37.01 to 34.56, with fewer parameters and FLOPs.",
        each((*_ERRORS, *COUNTS), "<", _VIDEO),
        difference(_VIDEO[1], _VIDEO[0], "top1_err", "~", 37.01 - 34.56, tolerance=0.01),
    ),
)
