"""This model as a pysaliency model, for use with pysaliency's evaluation code.

pysaliency requires older releases of several packages than this package does, so it is not a dependency. It
is imported only when a model is requested.
"""

from typing import Any

import numpy as np

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.predict.model import SaliencyModel


def pysaliency_model(
    model: SaliencyModel, domain: str | Domain | None = None, input_size: Size | None = None, **options: Any
) -> Any:
    """Wraps a model as a `pysaliency.Model`.

    Args:
      model: from `unisal_jax.load`.
      domain: domain whose parameters to use; None for salicon.
      input_size: (height, width) of the network input, multiples of 32; None to choose it by aspect
        ratio.
      options: arguments of `pysaliency.Model`, such as `caching`.

    Returns:
      A `pysaliency.Model` with float64 [H, W] log-densities. Stimuli are uint8, grey [H, W] or RGB
      [H, W, 3]; others raise a UnisalError.

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
            # float32 maps sum to 1 only within float32 precision.
            return log_density - np.log(np.exp(log_density).sum())

    return Unisal(**options)
