"""Who may know whom: the rooms of the package, held over its imports; and the names it gives."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import spikeproof

PACKAGE = Path(spikeproof.__file__).parent
CHOICES = {"choices", "configs", "ranges", "untrusted"}
COMMON = {*CHOICES, "randomness", "progress", "calling", "edit_counts", "shortage", "whole_files"}
MAY_KNOW = {
    "untrusted": set(),
    "ranges": set(),
    "fitting": {"ranges"},
    "choices": {"fitting", "ranges", "untrusted"},
    "registry": {"choices", "everything", "untrusted"},
    "configs": {"choices", "fitting", "registry", "untrusted"},
    "randomness": set(),
    "calling": {"randomness", "shortage", *CHOICES},
    "process": set(),
    "progress": set(),
    "edit_counts": set(),
    "shortage": set(),
    "whole_files": set(),
    "distributed": CHOICES,
    "runs": {"whole_files", *CHOICES},
    "data": COMMON,
    "snn": {*CHOICES, "randomness"},
    "attacks": COMMON,
    "exchange": {"snn", "whole_files", *CHOICES},
    "bounds": {"snn", *CHOICES},
    "conversion": {"snn", "data", *COMMON},
    "objectives": {"attacks", "bounds", "snn", *COMMON},
    "training": {"objectives", "conversion", "data", "snn", "attacks", "runs", "distributed", *COMMON},
    "evaluation": {"attacks", "exchange", "snn", "data", "runs", "distributed", *COMMON},
    "certificates": {"attacks", "bounds", "snn", "data", "runs", "distributed", "evaluation", *COMMON},
    "zoo": {"runs", "whole_files", *CHOICES},
    "reports": {"runs", "edit_counts", *CHOICES},
    "comparison": {"evaluation", "reports", "training", "runs", "data", "distributed", *COMMON},
    "controls": {"attacks", "data", "evaluation", "runs", "objectives", "snn", "training", *COMMON},
    "cli": {
        "certificates",
        "comparison",
        "conversion",
        "data",
        "distributed",
        "evaluation",
        "exchange",
        "fitting",
        "registry",
        "reports",
        "runs",
        "snn",
        "training",
        "attacks",
        "objectives",
        "controls",
        "zoo",
        *COMMON,
    },
    "everything": {
        "attacks",
        "certificates",
        "choices",
        "comparison",
        "conversion",
        "data",
        "evaluation",
        "exchange",
        "objectives",
        "runs",
        "snn",
        "training",
        "zoo",
    },
    "__main__": {"cli", "process"},
}
EXCEPTIONS = {
    "attacks/adaptive.py": {"snn"},  # it changes gradient paths
    "attacks/energy.py": {"snn"},  # it counts operations
    "runs/foreign.py": {"registry"},  # it imports what a user named, as choices of a user are imported
    "runs/weights.py": {"snn", "exchange"},  # it builds the network that the weights belong to
    "attacks/transfer.py": {"snn", "runs"},  # it attacks another network
}


def imported_rooms(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.split(".")[1] for name in names if name.startswith("spikeproof."))


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_a_room_knows_only_whom_it_may(room):
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for path in files:
        assert set(imported_rooms(path)) <= MAY_KNOW[room] | {room} | EXCEPTIONS.get(f"{room}/{path.name}", set()), path


def test_every_room_is_in_the_plan():
    rooms = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms - {"__init__"} == set(MAY_KNOW)


def test_the_page_says_who_may_know_whom():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (`.*`) \|$", page, re.MULTILINE))
    said = {room: set(re.findall(r"`(\w+)`", known)) for room, known in rows.items()}
    for room, known in said.items():
        for word, meant in (("common", COMMON), ("choices", CHOICES)):
            known |= meant if word in known else set()
        assert known - {"common"} == MAY_KNOW[room], room
    assert set(said) == set(MAY_KNOW) - {
        *CHOICES,
        "fitting",
        "registry",
        "randomness",
        "process",
        "progress",
        "edit_counts",
        "shortage",
        "whole_files",
        "cli",
        "everything",
        "__main__",
    }


def test_public_names_exist_and_are_documented():
    for name in spikeproof.__all__:
        thing = getattr(spikeproof, name)
        if isinstance(thing, type) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name} has no docstring"


def test_public_names_are_pinned():
    """Adding one is fine: add it here. Renaming one breaks its users: think twice."""
    assert set(spikeproof.__all__) == NAMES


NAMES = set(
    """
    APGD ASLDVS ASSG ATan Activation AdamW AdaptiveLIF Adversarial Along Annealing Architecture Arrays AsANN Attack
    AttackLoss Augmentation BPTR BackgroundActivity BranchAndBound CIFAR10 CIFAR100 CIFAR10DVS Calibration Card
    CarliniWagner CellAblation Certificate Certificates Constant Conversion ConvexCombination CornerPattern Cosine
    CrossEntropy Cutout DLIF DLR DSR DVS128Gesture DashPattern DataSet DeepFool DelayL1 DelayL2 DeletionSmoothing
    Diagnosis Digits Direct Distillation Encoder Energy EnergyAttack EventDeletion EventDrop EventEdits EventFlips
    EventFolder Events Exponential Exported FAB FGSM FashionMNIST Filter FilteredNetwork FirstSpike FlipSmoothing
    FrameFlips FrameL2 FrameLinf FramePattern Framed Frames Framing Gaussian GaussianNoise GaussianRetiming
    GaussianSmoothing GradedIF GradientPath Gumbel HART HopSkipJump HorizontalFlip HotPixels IF ImageFolder ImageNet
    Images Internals Interval IntervalBounds IntervalTraining KullbackLeibler L1 L2 LIF LastPotential Latency
    LearnedBounds Linf MART MLP MNIST Margin MeanCurrent Memory Mixture NCaltech101 NDA NMNIST Network Neuron
    NormalNoise Objective Optimiser Outcome PDSG PGD PLIF PartName Poisson Probes Protocol QCFS Quantisation
    QuantisedActivity RAT RFGSM RGA RSC RandomCrop RateCodingL1 RateCodingLinf RatePath ReLU Readout Recipe
    RecordingDeletion RecordingEdits Rectangle Retiming Run SAPGD SCG SDA SEWResNet SGD SHD SSC SUITES Schedule
    Selection Sensor SharedThresholds Sigmoid Simulation Slope SmallCNN Smoothed SparseAttack SparseGradient SpikeFile
    SpikeFool SpikeRetiming SpikingNetwork SpikingResNet Square StablePotential Standard StatefulNeuron SteepestRetiming
    Step StraightThrough Suite SynapticLIF TRADES Targeted TargetedCrossEntropy TargetedDLR TargetedLoss TargetedMargin
    TensorBoard Threat ThresholdBalancing ThresholdGuarding Thresholds TinyImageNet Tracked Training Transfer Triangle
    TwinTransfer UniformNoise UniformRetiming UserError VGG Verdicts Weights WideResNet adapt ann_twin attack_view
    augment background_activity can_follow cards certify certify_run compare convert data_in diagnose download energy
    energy_of_run evaluate evaluate_run export_nir has_spikes hot_pixels import_nir load load_model
    potential_perturbation predict probe probe_run qte quantised_activity read_events read_gestures recall record
    remembered rewritten suite_named told_apart train usual_recipes view without_statistics write_events
    write_report write_zoo
    """.split()  # noqa: SIM905
)


def test_importing_is_light():
    heavy = (
        "torch",
        "numpy",
        "matplotlib",
        "sklearn",
        "scipy",
        "jinja2",
        "rich",
        "yaml",
        "PIL",
        "spikeproof.cli",
        "spikeproof.reports",
    )
    said, used = "spikeproof.__main__.main(['--help'])", "spikeproof.Linf"
    assert _imported(said, heavy) == []
    assert _imported(used, heavy[2:]) == []


def _imported(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a new process has imported after it ran `code`."""
    import subprocess
    import sys

    code = f"import sys, spikeproof.__main__; {code}; print(*[m for m in {names} if m in sys.modules], sep=';')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return found.splitlines()[-1].split(";") if found.splitlines()[-1] else []
