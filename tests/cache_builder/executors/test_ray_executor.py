"""What the executor makes of what Ray says; Ray itself is not needed for it."""

import pickle

import pytest

from cache_builder.errors import ConfigError, MachineError
from cache_builder.executors import JobDied, JobDone, JobLimits, JobLost, JobRaised, RayChoice, RayExecutor
from cache_builder.executors.ray_worker import Answer
from tests.support.executors.fake_ray import FakeRay, NodeDiedError, RayTaskError
from tests.support.executors.pool_jobs import Number

OTHER = "99887766" * 7


def answering(node, version, check, job):
    """A node that runs jobs and differs in nothing."""
    value = None if job is None else pickle.loads(job).run()
    return pickle.dumps(Answer(kind="done", node=node, value=value))


def ended(kind, value):
    """Nodes whose jobs end so."""

    def run(node, version, check, job):
        if job is None:
            return answering(node, version, check, job)
        return pickle.dumps(Answer(kind=kind, node=node, value=value, cause="there"))

    return run


def executor(**options):
    return RayExecutor(RayChoice(address=None), check=lambda: None, **options)


def first_outcome(ray, **options):
    with ray.imported(), executor(**options) as pool:
        pool.submit(Number(value=3))
        return pool.next_outcome()


def test_every_end_of_a_job_is_told_as_what_it_is():
    assert first_outcome(FakeRay(answering)) == JobDone(job=Number(value=3), result=3)
    died = first_outcome(FakeRay(ended("died", "was killed by SIGSEGV")))
    assert died == JobDied(job=Number(value=3), how="was killed by SIGSEGV")
    raised = first_outcome(FakeRay(ended("raised", OSError(28, "full"))))
    assert isinstance(raised, JobRaised) and isinstance(raised.error, OSError)
    assert str(raised.error.__cause__) == "there"
    lost = first_outcome(FakeRay(ended("lost", "no worker process can start on its node")))
    assert lost == JobLost(job=Number(value=3), how="no worker process can start on its node")


def test_what_ray_reports_is_a_loss_and_names_no_host():
    lost = first_outcome(FakeRay(answering, ends=[NodeDiedError("at 10.1.2.3")]))
    assert lost == JobLost(job=Number(value=3), how="its node ended")


def test_a_lost_job_is_done_in_the_end():
    ray = FakeRay(answering, ends=[NodeDiedError(), None, NodeDiedError()])
    with ray.imported(), executor() as pool:
        for value in range(6):
            pool.submit(Number(value=value))
        assert sorted(outcome.result for outcome in pool.outcomes()) == [0, 1, 2, 3, 4, 5]


def test_a_node_that_differs_is_named_by_its_id_before_any_job_runs():
    def run(node, version, check, job):
        assert job is None
        if node == OTHER:
            return pickle.dumps(Answer(kind="refused", node=node, value=["has av 17, this machine 18"]))
        return answering(node, version, check, job)

    with pytest.raises(
        MachineError, match="cluster: node 99887766 has av 17, this machine 18; make the nodes"
    ):
        first_outcome(FakeRay(run))


@pytest.mark.parametrize(("num_lost", "is_refused"), [(2, False), (3, True)])
def test_a_check_that_is_lost_is_made_again(num_lost, is_refused):
    ray, losses = FakeRay(answering, nodes=("1a2b3c4d" * 7,)), [NodeDiedError("at 10.1.2.3")] * num_lost
    get = ray.get

    def lose(task):
        if ray.tasks[task][1][-1] is None and losses:
            raise losses.pop()
        return get(task)

    ray.get = lose
    if is_refused:
        with pytest.raises(MachineError, match="node 1a2b3c4d cannot be checked, because its node ended"):
            first_outcome(ray)
    else:
        assert first_outcome(ray).result == 3


def test_a_node_that_joined_later_and_differs_ends_the_build():
    refused = FakeRay(ended("refused", ["cannot read /x"]))
    with pytest.raises(MachineError, match="node 1a2b3c4d cannot read /x"):
        first_outcome(refused)


def test_a_node_without_our_package_is_told_without_the_text_of_ray():
    with pytest.raises(
        MachineError, match=r"cannot run jobs of frame-cache .*ImportError.*install"
    ) as caught:
        first_outcome(FakeRay(answering, ends=[RayTaskError("ip=10.1.2.3")]))
    assert "10.1.2.3" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("at_most", "in_flight"), [(None, 8), (4, 8), (3, 3), (9, 8)])
def test_a_task_waits_beside_each_cpu_unless_fewer_are_wanted(at_most, in_flight):
    ray = FakeRay(answering, cpus=4)
    with ray.imported(), executor(at_most=at_most) as pool:
        for value in range(20):
            pool.submit(Number(value=value))
        pool.next_outcome()
        assert ray.most_at_once == in_flight


def test_a_job_of_a_gpu_asks_for_a_whole_one():
    job = Number(value=1, limits=JobLimits(num_gpus=1))
    ray = FakeRay(answering, gpus=1)
    with ray.imported(), executor() as pool:
        pool.submit(job)
        pool.submit(Number(value=2))
        assert [outcome.result for outcome in pool.outcomes()] == [1, 2]
    assert [options.get("num_gpus") for options in ray.options[2:]] == [1, None]
    with FakeRay(answering).imported(), executor() as pool:
        pool.submit(job)
        with pytest.raises(MachineError, match="no node of the Ray cluster has a GPU"):
            pool.next_outcome()


def test_what_runs_at_the_end_is_cancelled():
    ray = FakeRay(answering, cpus=1)
    with ray.imported(), executor() as pool:
        for value in range(4):
            pool.submit(Number(value=value))
        pool.next_outcome()
    assert [pickle.loads(arguments[-1]).value for _, arguments in ray.cancelled] == [1, 2]


def test_a_cluster_that_this_process_has_joined_is_used_and_no_other():
    told = []
    first_outcome(FakeRay(answering), tell=told.append)
    assert told[0] == "uses the Ray cluster that this process has joined"
    assert told[1].startswith("a Ray cluster of 2 nodes, 2 CPUs, ready after")
    other = RayExecutor(RayChoice(address="local"), check=lambda: None)
    other.submit(Number(value=1))
    with FakeRay(answering).imported(), pytest.raises(ConfigError, match="has joined a Ray cluster already"):
        other.next_outcome()


def test_ray_that_is_not_installed_is_explained(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    pool = executor()
    pool.submit(Number(value=1))
    with pytest.raises(ConfigError, match=r"Ray is not installed.*pip install 'frame-cache\[ray\]'"):
        pool.next_outcome()


def test_an_address_where_nothing_answers_is_told_at_once(unused_port):
    pool = RayExecutor(RayChoice(address=f"127.0.0.1:{unused_port}"), check=lambda: None)
    pool.submit(Number(value=1))
    ray = FakeRay(answering)
    ray.is_initialized = lambda: False
    with ray.imported(), pytest.raises(MachineError, match="no Ray cluster answers at the given address"):
        pool.next_outcome()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        yield bound.getsockname()[1]
