"""What a data card says about differential privacy: the promise, and all that it leaves out."""

from typing import Any

from tardiff.privacy_account import Privacy, promise_line

ALWAYS_OUTSIDE = (
    "the range and scale of every channel (normaliser), the number of stays per class and of "
    "patients, and the training column below: all are read from train as it is; the stays of "
    "val_select choose the training step and are promised nothing"
)
COPIES = (
    "the search for copies of training stays, which reads them (generation.allow_copies=true "
    "leaves it out)"
)
GUIDED = (
    "**this set is guided, so the promise does not hold for it**: the classifier and the guidance "
    "gradient were made from train and val_guide without noise"
)


def privacy_lines(facts: dict[str, Any]) -> list[str]:
    """Markdown list items for the set with these facts (`tardiff.set_facts`)."""
    plain = facts["diffusion"].get("privacy")
    if plain is None:
        return ["- differential privacy: none (diffusion.private.epsilon)"]
    outside = [ALWAYS_OUTSIDE]
    if facts["copies"] is not None:
        outside.append(COPIES)
    if facts["guidance"] is not None:
        outside.append(GUIDED)
    return [
        f"- {promise_line(Privacy.from_plain(plain))}",
        f"- not covered by it: {'; '.join(outside)}",
    ]
