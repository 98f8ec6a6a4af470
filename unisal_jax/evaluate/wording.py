"""Texts of a report: names of scores and methods, what was left out, and definitions of scores."""

from collections.abc import Mapping

from unisal_jax.evaluate.protocols import Protocol
from unisal_jax.evaluate.results import Evaluation

SCORE_TITLES = {
    "auc_judd": "AUC-Judd",
    "s_auc": "s-AUC",
    "nss": "NSS",
    "cc": "CC",
    "sim": "SIM",
    "kld": "KLD",
    "ig": "IG",
}
"""Titles by score name, as in tables of papers."""

SEQUENCE_TITLES = {
    "string_edit": "SED",
    "time_delay": "TDE",
    "bits": "bits",
    "saccade": "saccade",
    "returns": "returns",
}
"""Titles of the scores of sequences of fixations."""

_TITLES = {**SCORE_TITLES, **SEQUENCE_TITLES}

LOWER_IS_BETTER = frozenset({"kld", "string_edit", "time_delay"})
"""Scores that are distances; for all others, higher is better."""

_FAULTS = {
    "constant_prediction": "with a constant prediction (scored, at chance level)",
    "resized_prediction": "with a prediction of another size (scored, resized)",
    "empty_ground_truth": "with an empty ground-truth map (no CC, SIM, KLD)",
    "constant_ground_truth": "with a constant ground-truth map (no CC)",
    "no_fixations": "without fixations (no AUC-Judd, s-AUC, NSS, IG)",
    "every_pixel_fixated": "with fixations on every pixel (no AUC-Judd)",
    "no_other_fixations": "without other frames' fixations (no s-AUC)",
    "no_centre_prior": "without a centre prior (no IG)",
    "lossy_fixations": "with fixations in a JPEG or lossy WebP image (pixels of at least 128 counted)",
    "blurred_fixations": "with fixations that look like a blurred map (each pixel above 0 counted)",
}


def columns(evaluation: Evaluation) -> list[str]:
    """The scores that at least one method has, in the order of the titles."""
    return [name for name in _TITLES if any(name in method.mean for method in evaluation.methods)]


def score_title(name: str) -> str:
    """The title of a score, of maps or of sequences."""
    return _TITLES[name]


def method_title(name: str) -> str:
    """The name of a method as text: `centre_prior` becomes "centre prior"."""
    return name.replace("_", " ")


def printable(text: object) -> str:
    """The text with unprintable characters replaced by escapes, such as \\x1b.

    File names may contain newlines, terminal commands and bytes that are not text.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in str(text)
    )


def number_of(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "1,200 frames"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def extent(evaluation: Evaluation) -> str:
    """The amount of data scored: "700 images", "1 video, 54 frames"."""
    method = evaluation.methods[0]
    groups = number_of(len(method.groups), evaluation.kind)
    if evaluation.kind == "image" and len(method.frames) == len(method.groups):
        return groups
    return f"{groups}, {number_of(len(method.frames), 'frame')}"


def averaging(protocol: Protocol | None, kind: str) -> str:
    """What the mean and its interval are over; `protocol` is None for scores of sequences."""
    if protocol is not None and protocol.mean_over == "frames" and kind == "video":
        limit = f", at most {protocol.max_frames:,}" if protocol.max_frames else ""
        over = f"frames{limit}"
    else:
        over = f"{kind}s"
    return f"mean over {over}; 95% interval: bootstrap over {kind}s"


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """One line per reason in `MethodScores.left_out`."""
    return [
        f"{number_of(count, 'frame')} {_FAULTS.get(reason, printable(reason).replace('_', ' '))}"
        for reason, count in sorted(left_out.items())
        if count
    ]


def noted_lines(evaluation: Evaluation) -> list[str]:
    """Counts of degenerate frames of the predictions, and the notes."""
    return [
        *left_out_lines(evaluation.methods[0].left_out),
        *(printable(line) for line in evaluation.notes),
    ]


def definitions(protocol: Protocol) -> dict[str, str]:
    """The definition of each score in the protocol."""
    fixations = "each fixated pixel once" if protocol.unique_fixations else "every fixation"
    spread = "unbiased" if protocol.nss_ddof else "population"
    noise = " after noise of 1e-7" if protocol.jitter else ", ties count half"
    others = (
        "fixations of a random frame of each of ten images or videos; 100 splits, thresholds 0.1 apart"
        if protocol.sampled_s_auc
        else "all fixations of all other images or videos, exact, ties count half"
    )
    return {
        "auc_judd": f"{fixations} against all pixels without one; thresholds at the fixated values{noise}",
        "s_auc": f"fixations against {others}",
        "nss": f"{fixations}; map standardised with the {spread} standard deviation",
        "cc": "Pearson's correlation of the two maps; 0 for a constant prediction",
        "sim": "sum of the pixelwise minimum of the two densities"
        + (", maps scaled to 0..1 first" if protocol.sim_rescale else ""),
        "kld": "sum of truth times log(truth / prediction), in nats"
        + (f", {protocol.kld_eps:.3g} added to the ratio and its denominator" if protocol.kld_eps else ""),
        "ig": f"bits per fixation over the centre prior; {fixations}",
    }
