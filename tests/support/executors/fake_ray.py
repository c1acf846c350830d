"""Ray without processes: tasks run when they are waited for, on nodes of these ids."""

from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock


class RayError(Exception):
    """As Ray's: its text names a host."""


class RayTaskError(RayError):
    cause = ImportError("on 10.1.2.3")


class NodeDiedError(RayError):
    pass


class FakeRay:
    """What `RayExecutor` asks of the module `ray`. `ends` has an error for each of the first tasks of jobs."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, run, *, cpus=2, gpus=0, nodes=("1a2b3c4d" * 7, "99887766" * 7), ends=()):
        self.run = run
        self.cpus = cpus
        self.gpus = gpus
        self.node_ids = nodes
        self.ends = list(ends)
        self.tasks = {}
        self.most_at_once = 0
        self.cancelled = []
        self.options = []

    def remote(self, **options):
        return lambda function: _Task(self, options)

    def start(self, options, arguments):
        reference = object()
        self.tasks[reference] = (options, arguments)
        self.options.append(options)
        self.most_at_once = max(self.most_at_once, len(self.tasks))
        return reference

    def wait(self, references, *, num_returns=1, timeout=None):
        return references[:1], references[1:]

    def get(self, reference):
        options, arguments = self.tasks.pop(reference)
        node = options.get("scheduling_strategy", self.node_ids[0])
        if arguments[-1] is not None and self.ends:
            error = self.ends.pop(0)
            if error is not None:
                raise error
        return self.run(node, *arguments)

    def cancel(self, reference, *, force):
        assert not force  # Ray 2.60 aborts the driver where a task ends at that moment
        self.cancelled.append(self.tasks[reference])

    def is_initialized(self):
        return True

    def nodes(self):
        return [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1.0}} for node in self.node_ids]

    def cluster_resources(self):
        return {"CPU": float(self.cpus), "GPU": float(self.gpus)}

    @contextmanager
    def imported(self):
        """While this lasts, `import ray` gives this."""
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node_id, soft: node_id)
        modules = {
            "ray": self,
            "ray.util": SimpleNamespace(scheduling_strategies=strategies),
            "ray.util.scheduling_strategies": strategies,
        }
        with mock.patch.dict("sys.modules", modules):
            yield


class _Task:
    def __init__(self, ray, options):
        self._ray = ray
        self._options = options

    def options(self, **options):
        return _Task(self._ray, self._options | options)

    def remote(self, *arguments):
        return self._ray.start(self._options, arguments)
