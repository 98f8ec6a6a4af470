"""Scores of one frame by pysaliency 0.2.22, as stored in `golden/pysaliency.json`.

The file has the first four cases of `golden/metrics.npz`, with every third column's fixations
doubled (`doubled`), for the density and for an 8-bit map of it, which has ties and zeros.
"""

import numpy as np


def doubled(fixations):
    return fixations.astype(np.uint32) * (1 + (np.arange(fixations.shape[1]) % 3 == 0)).astype(np.uint32)


def eight_bit(density):
    return (density * 255 / density.max()).astype(np.uint8)


def library_scores(pred, gt, counts, others):
    """Scores computed by pysaliency; `others` is another image of the same size."""
    from pysaliency.datasets import Fixations, Stimuli
    from pysaliency.metrics import CC, SIM, MIT_KLDiv
    from pysaliency.models import Model
    from pysaliency.saliency_map_models import SaliencyMapModel

    class Map(SaliencyMapModel):
        def _saliency_map(self, stimulus):
            return np.asarray(pred, np.float64)

    class Density(Model):
        def __init__(self, density):
            super().__init__(caching=False)
            self.density = density

        def _log_density(self, stimulus):
            return np.log(self.density)

    def fixations(*images):
        points = [np.repeat(np.argwhere(m), m[m > 0], axis=0) for m in images]
        rows, columns = np.concatenate(points).astype(float).T
        number = np.repeat(np.arange(len(images)), [len(p) for p in points])
        return Fixations.create_without_history(x=columns, y=rows, n=number)

    images = [np.full((*pred.shape, 3), shade, np.uint8) for shade in (0, 1)]
    one, both = Stimuli(images[:1]), Stimuli(images)
    model, here = Map(caching=False), fixations(counts)
    shuffled = model.AUCs(both, fixations(counts, others), nonfixations="shuffled")
    scores = {
        "auc_judd": model.AUC_Judd(one, here),
        "auc": model.AUC(one, here, average="image"),
        "s_auc": shuffled[: counts.sum()].mean(),
        "nss": model.NSSs(one, here).mean(),
        "cc": CC(np.asarray(pred, np.float64), gt),
        "sim": SIM(np.asarray(pred, np.float64), gt),
        "kld": MIT_KLDiv(np.asarray(pred, np.float64), gt),
    }
    if np.all(pred > 0):
        scores["ig"] = Density(pred / pred.sum()).information_gain(one, here, Density(gt))
    return scores
