"""Our network as a model of pysaliency, for that library's own evaluation code.

pysaliency needs older releases of several packages than we do, so it is no dependency: it is imported
when a model is asked for.
"""

from typing import Any

import numpy as np

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.predict.model import SaliencyModel


def pysaliency_model(
    model: SaliencyModel, domain: str | Domain | None = None, input_size: Size | None = None, **options: Any
) -> Any:
    """The network as a `pysaliency.Model`.

    Args:
      model: from `unisal_jax.load`.
      domain: whose parameters to use; None for salicon.
      input_size: (height, width) that the network sees, multiples of 32; None for the one by aspect
        ratio.
      options: of `pysaliency.Model`, such as `caching`.

    Returns:
      A `pysaliency.Model`, whose log-densities are float64 [H, W]. Its stimuli are uint8, [H, W]
      grey or [H, W, 3] RGB; other ones raise a UnisalError.

    Raises:
      UnisalError: pysaliency cannot be imported, or the domain is unknown.
    """
    try:
        from pysaliency.models import Model
    except ImportError as error:
        raise UnisalError(f"pysaliency cannot be imported ({error})") from error
    chosen = model.domain(domain, video=False)

    class Unisal(Model):
        """Log-densities by UNISAL."""

        def _log_density(self, stimulus: np.ndarray) -> np.ndarray:
            image = np.asarray(stimulus)
            if image.ndim == 2:
                image = np.repeat(image[..., None], 3, axis=2)
            log_density = model.predict(image, chosen, input_size, log=True).astype(np.float64)
            # float32 maps sum to one only to its precision.
            return log_density - np.log(np.exp(log_density).sum())

    return Unisal(**options)
