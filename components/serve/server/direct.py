"""Runs rows through a model by themselves: at once where that takes no time, else in a thread."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from kfp_lifecycle.components.serve.server.failures import ModelError, RequestError, TimedOutError
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.table import Table

log = logging.getLogger(__name__)

#: Seconds for which the event loop may be kept by one prediction; handing it to a thread costs a tenth of it.
AT_ONCE_S = 0.002
#: More rows than this always go to a thread: what few rows take says little about what many do.
AT_ONCE_ROWS = 256
#: How much a request counts in what a model takes: little where it took longer than lately, which may be
#: another process's doing, and much where it took less, which is not.
_SLOWER, _FASTER = 0.02, 0.5


class DirectPredictor:
    """Runs each call's rows by themselves.

    Args:
        workers: Threads for what takes long.
        timeout_s: Seconds after which the caller gets ``TimedOutError``; the thread goes on to its end.
    """

    def __init__(self, workers: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(workers, "predict", initializer=configure_estimators)
        self._timeout_s = timeout_s

    async def predict(self, served: ServedModel, rows: Table) -> Table:
        """See :meth:`.Predictor.predict`."""
        if rows.height <= AT_ONCE_ROWS and served.seconds < AT_ONCE_S:
            return self._run(served, rows)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, self._run, served, rows)
        try:
            return await asyncio.wait_for(running, self._timeout_s)
        except TimeoutError:
            raise TimedOutError(f"The model took longer than {self._timeout_s:g} s.") from None

    def close(self) -> None:
        """Ends the threads; what still runs in one is waited for by nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, served: ServedModel, rows: Table) -> Table:
        began = time.perf_counter()
        try:
            return served.predict(rows)
        except RequestError:
            raise
        except Exception as error:
            log.exception("the model %s version %s failed", served.name, served.version)
            raise ModelError(f"The model failed: {type(error).__name__}.") from error
        finally:
            if rows.height <= AT_ONCE_ROWS:
                took = time.perf_counter() - began
                served.seconds += (_FASTER if took < served.seconds else _SLOWER) * (took - served.seconds)


def configure_estimators() -> None:
    """Leaves out what scikit-learn checks again in each call; in each thread, as the setting is the thread's.

    Parameters were checked when the model was fitted, and that all features are numbers the model's own
    transform sees to.
    """
    import sklearn

    sklearn.set_config(skip_parameter_validation=True)
