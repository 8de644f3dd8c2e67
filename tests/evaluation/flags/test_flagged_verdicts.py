"""What do red flags do to a verdict, and what do they cost?"""

import torch
from torch import nn

import spikeproof as sp
from spikeproof.controls import CONTROLS, Outside
from spikeproof.evaluation.judging import Judge
from spikeproof.randomness import seed_from, seeded

SMALL = sp.Suite(name="small", attacks=(sp.PGD(steps=5),))
THREAT = sp.Linf(0.1)


def test_a_graph_that_is_kept_from_call_to_call_ends_in_a_verdict_and_no_traceback(trained, images):
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.last = trained, 0.0

        def forward(self, x):
            logits = self.network(x)
            self.last = logits.mean(0) + 0.1 * self.last
            return logits + self.last

    found = sp.evaluate(Remembers(), images, sp.Protocol(threats=THREAT, suite=SMALL))
    assert found.diagnosis.status == "unreliable"
    assert "keeps a state" in found.diagnosis.reason
    assert found.robust_accuracy(0) is None
    assert found.gradients.sum() == 0  # nothing was attacked in vain


def test_flags_are_part_of_the_verdicts_and_spoil_them(trained, images):
    suite = sp.Suite(name="looked at", attacks=(sp.PGD(steps=5),), examined=8)
    honest = sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=suite))
    assert honest.diagnosis.status == "ok"
    names = [flag["name"] for flag in honest.summary()["flags"]]
    assert "keeps a state" in names
    assert "black box beats white box" in names
    assert not any(flag["raised"] for flag in honest.summary()["flags"] if flag["spoils"])
    spoiled = sp.evaluate(
        Outside(trained, lambda x: x + 0.05 * torch.randn_like(x)), images, sp.Protocol(threats=THREAT, suite=suite)
    )
    assert spoiled.diagnosis.status == "unreliable"
    assert "undeclared randomness" in spoiled.diagnosis.reason
    assert spoiled.summary()["threats"][0]["robust_accuracy"] is None


def test_without_images_to_examine_no_attack_is_spent_on_flags(trained, images):
    names = {flag.name for flag in sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=SMALL)).flags}
    assert "keeps a state" in names
    assert "one step beats many" not in names


def test_the_controls_hold_honest_networks_and_others():
    assert sum(control.honest for control in CONTROLS) >= 4
    assert len({control.name for control in CONTROLS}) == len(CONTROLS) >= 11


def test_a_blind_path_of_its_own_does_not_stop_an_adaptive_suite(trained, images):
    """Its own slope sees nothing, ASSG does: a number, and a warning beside it."""
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    unseen = sp.evaluate(narrow, images, sp.Protocol(threats=THREAT, suite=SMALL))
    assert unseen.diagnosis.status == "zero_gradient"
    along = sp.Suite(name="adaptive", attacks=(sp.Along(attack=sp.PGD(steps=5), paths=(sp.ASSG(),)),))
    seen = sp.evaluate(narrow, images, sp.Protocol(threats=THREAT, suite=along))
    assert seen.robust_accuracy(0).value < seen.clean_accuracy().value
    assert {flag.name for flag in seen.flags if flag.raised} == {"potentials outside the slope's window"}


def test_what_flags_cost_is_in_the_record(trained, images):
    found = sp.evaluate(
        trained, images, sp.Protocol(threats=THREAT, suite=sp.Suite(name="looked at", attacks=(sp.FGSM(),), examined=8))
    ).summary()
    assert found["gradient_evaluations"] <= len(images[0])
    assert found["gradient_evaluations_of_flags"] > 8  # at least FGSM, and many steps beside
    assert found["forward_evaluations_of_flags"] > found["gradient_evaluations_of_flags"]
    cheap = sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=SMALL)).summary()
    assert 0 < cheap["gradient_evaluations_of_flags"] <= 16 * 32  # two short climbs and a gradient a path


def test_a_model_without_spikes_is_attacked_once_where_paths_are_many(trained_ann, images):
    suite = sp.Suite(name="paths", attacks=(sp.Along(attack=sp.PGD(steps=4), paths=(sp.ATan(), sp.ASSG(), sp.BPTR())),))
    found = sp.evaluate(trained_ann, images, sp.Protocol(threats=THREAT, suite=suite))
    assert found.gradients.max() == 4
    assert set(found.broken_by) <= {-1, 0}


def test_noise_that_was_attacked_does_not_judge(trained, images):
    """FGSM on one draw of heavy noise: judged by the very same draw it would break many more."""
    noisy = sp.view(trained, encoder=sp.RSC(sigma=0.5))
    x, y = images
    judge, threat = Judge(noisy, 1, False), sp.Linf(0.2)
    broken = torch.stack([judge(sp.FGSM(), x, y, threat, seed).broken for seed in range(6)]).float().mean()
    with torch.no_grad():
        same = []
        for seed in range(6):
            found = sp.FGSM()(judge.attacked, x, y, threat, seed=seed)
            with seeded(seed_from(seed, 0), x.device):  # as the attack's one pass was
                same.append(judge.attacked(found).argmax(1) != y)
    assert broken < torch.stack(same).float().mean()
