"""The Helm chart, rendered by helm itself: each object is one that its operator takes, and says what it must."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from helm_chart import CHART, helm, rendered

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
DATA = Path(__file__).with_name("data")


def schema(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((DATA / f"{name}-spec.json").read_text()))


@pytest.fixture(scope="module")
def mpijob():
    (job,) = rendered()
    return job


def by_kind(objects):
    return {each["kind"]: each for each in objects}


def made_by(cron_objects):
    """The MPIJob that a CronJob of these objects creates."""
    return yaml.safe_load(by_kind(cron_objects)["ConfigMap"]["data"]["mpijob.yaml"])


def launcher(job):
    return job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]


def worker(job):
    return job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]


def test_helm_finds_nothing_wrong():
    done = helm(
        "lint", "--strict", str(CHART), "--set", "nightly.enabled=true,idle.enabled=true,act.enabled=true"
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("node=4", "Additional property node is not allowed"),
        ("nodes=two", "nodes"),
        ("accept.operator=slurm", "accept.operator"),
        ("idle.priority=5", "idle.priority"),
    ],
)
def test_a_slip_in_a_value_is_refused_by_its_name(setting, said):
    done = helm("template", "rg", str(CHART), "--set", setting)
    assert done.returncode != 0 and said in done.stderr


def test_the_job_is_one_that_the_operator_takes(mpijob):
    assert (mpijob["apiVersion"], mpijob["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    schema("mpijob").validate(mpijob["spec"])


@pytest.mark.parametrize(
    ("place", "value"),
    [("slotsPerWorkers", 8), ("mpiImplementation", "openmpi"), ("slotsPerWorker", "8")],
)
def test_the_schema_refuses_a_slip(mpijob, place, value):
    with pytest.raises(jsonschema.ValidationError):
        schema("mpijob").validate({**mpijob["spec"], place: value})


def test_the_job_has_a_rank_for_every_gpu():
    (job,) = rendered("nodes=4", "gpusPerNode=4")
    args, limits = launcher(job)["args"], worker(job)["containers"][0]["resources"]["limits"]
    assert args[args.index("-n") + 1] == "16"
    assert job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] == 4
    assert limits["nvidia.com/gpu"] == job["spec"]["slotsPerWorker"] == 4


@pytest.mark.needs("shellcheck")
def test_shellcheck_has_nothing_to_say_of_the_launchers_script(mpijob, tmp_path):
    shell, how, script, _ = launcher(mpijob)["command"]
    assert (shell, how) == ("bash", "-c")
    assert "$(" not in script  # Kubernetes would take $(...) for a variable of its own
    (tmp_path / "script").write_text(script)
    # SC2016: the first worker's shell is to expand what stands between single quotes
    words = ["shellcheck", "--shell=bash", "--exclude=SC2016", str(tmp_path / "script")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_the_run_folder_is_on_a_volume_of_the_worker_that_writes_it(mpijob):
    args, pod = launcher(mpijob)["args"], worker(mpijob)
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    folder = Path(args[args.index("--out") + 1]).parent
    assert "persistentVolumeClaim" in volumes[mounts[str(folder)]]
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert set(mounts.values()) == set(volumes)


def test_ranks_are_told_the_name_of_their_node(mpijob):
    container = worker(mpijob)["containers"][0]
    assert container["env"][0] == {
        "name": "RAILGAUGE_NODE",
        "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
    }
    assert "SetEnv=RAILGAUGE_NODE=$(RAILGAUGE_NODE)" in container["args"]


def test_what_a_cluster_differs_in_reaches_the_workers():
    (job,) = rendered(
        "worker.hostNetwork=true",
        r"worker.rdma.rdma/hca_shared_devices_a=1",
        r"worker.annotations.k8s\.v1\.cni\.cncf\.io/networks=rail1",
        "worker.nodeSelector.pool=gpu",
        "interface=eno1",
    )
    schema("mpijob").validate(job["spec"])
    pod, metadata = worker(job), job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["metadata"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert pod["containers"][0]["resources"]["limits"]["rdma/hca_shared_devices_a"] == 1
    assert metadata["annotations"] == {"k8s.v1.cni.cncf.io/networks": "rail1"}
    assert pod["nodeSelector"] == {"pool": "gpu"}
    args = launcher(job)["args"]
    assert args[args.index("btl_tcp_if_include") + 1] == "eno1"
    assert "--mca btl_tcp_if_include eno1" in launcher(job)["command"][2]


def test_the_train_job_is_one_that_the_trainer_takes():
    found = by_kind(rendered("accept.operator=trainer", "nodes=3", "accept.options={--budget,20m}"))
    assert set(found) == {"Secret", "TrainingRuntime", "TrainJob"}
    job, runtime = found["TrainJob"]["spec"], found["TrainingRuntime"]["spec"]
    schema("trainjob").validate(job)
    schema("trainingruntime").validate(runtime)
    assert job["runtimeRef"]["name"] == found["TrainingRuntime"]["metadata"]["name"]
    assert job["trainer"]["numNodes"] == runtime["mlPolicy"]["numNodes"] == 3
    assert job["trainer"]["args"][:3] == ["accept", "--budget", "20m"]
    pod = runtime["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    names = {each["name"]: each for each in pod["containers"][0]["env"]}
    assert (
        names["RAILGAUGE_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == found["Secret"]["metadata"]["name"]
    )
    assert len(found["Secret"]["stringData"]["token"]) == 64


@pytest.mark.parametrize("name", ["trainjob", "trainingruntime"])
def test_the_trainers_schemas_refuse_a_slip(name):
    found = {each["kind"].lower(): each.get("spec") for each in rendered("accept.operator=trainer")}
    with pytest.raises(jsonschema.ValidationError):
        schema(name).validate({**found[name], "numNode": 2})


@pytest.mark.parametrize("which", ["nightly", "idle"])
def test_a_cron_job_may_create_jobs_and_nothing_else(which):
    objects = rendered("accept.enabled=false", f"{which}.enabled=true")
    found = by_kind(objects)
    assert set(found) - {"PriorityClass"} == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "CronJob"}
    assert found["Role"]["rules"] == [
        {"apiGroups": ["kubeflow.org"], "resources": ["mpijobs"], "verbs": ["create"]}
    ]
    name = found["ServiceAccount"]["metadata"]["name"]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert found["RoleBinding"]["subjects"][0]["name"] == name
    cron = found["CronJob"]["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    pod = cron["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == name
    assert pod["volumes"][0]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    job = made_by(objects)
    schema("mpijob").validate(job["spec"])
    words = launcher(job)["args"]
    assert words[words.index("railgauge") + 1] == "nightly"
    assert words[words.index("--history") + 1].startswith("/runs/")


def test_idle_nodes_are_measured_two_at_a_time_by_pods_that_any_other_may_replace():
    objects = rendered("accept.enabled=false", "idle.enabled=true", "nodes=64")
    job, priority = made_by(objects), by_kind(objects)["PriorityClass"]
    assert (priority["value"], priority["preemptionPolicy"]) == (-1000000, "Never")
    for each in ("Launcher", "Worker"):
        pod = job["spec"]["mpiReplicaSpecs"][each]["template"]["spec"]
        assert pod["priorityClassName"] == priority["metadata"]["name"]
    assert job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] == 2
    words = launcher(job)["args"]
    assert words[words.index("-n") + 1] == "16"
    stop = worker(job)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert "pkill -TERM -f '[r]ailgauge nightly '" in stop[2]
    assert worker(job)["terminationGracePeriodSeconds"] == 60


def test_act_may_do_what_its_steps_need_and_nothing_else():
    found = by_kind(rendered("accept.enabled=false", "act.enabled=true"))
    rules = found["ClusterRole"]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    assert found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]


ALL = ("nightly.enabled=true", "idle.enabled=true", "act.enabled=true")


@pytest.mark.parametrize("operator", ["mpi", "trainer"])
def test_every_object_bears_the_labels_that_find_it(operator):
    objects = rendered(*ALL, f"accept.operator={operator}")
    jobs = [yaml.safe_load(each["data"]["mpijob.yaml"]) for each in objects if each["kind"] == "ConfigMap"]
    assert len(jobs) == 2
    for each in (*objects, *jobs):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "railgauge", each["kind"]
        assert labels["app.kubernetes.io/instance"] == "rg"


def test_the_pod_that_creates_a_job_meets_the_restricted_pod_security_standard():
    pod = by_kind(rendered("nightly.enabled=true"))["CronJob"]["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]
    context = pod["containers"][0]["securityContext"]
    assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
    assert pod["containers"][0]["resources"]["requests"]


def test_every_pod_is_pulled_with_the_secret_of_a_private_registry():
    objects = rendered("nightly.enabled=true", "imagePullSecrets[0].name=mine")
    found = by_kind(objects)
    replicas = found["MPIJob"]["spec"]["mpiReplicaSpecs"]
    pods = [each["template"]["spec"] for each in replicas.values()]
    pods.append(found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    (runtime,) = (
        each
        for each in rendered("accept.operator=trainer", "imagePullSecrets[0].name=mine")
        if each["kind"] == "TrainingRuntime"
    )
    pods.append(
        runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    )
    assert all(pod["imagePullSecrets"] == [{"name": "mine"}] for pod in pods)
    schema("mpijob").validate(found["MPIJob"]["spec"])
    schema("trainingruntime").validate(runtime["spec"])


def test_a_profile_of_ones_own_lies_on_the_claim():
    words = launcher(
        made_by(rendered("accept.enabled=false", "idle.enabled=true", "profile=/runs/site.toml"))
    )["args"]
    assert words[words.index("--profile") + 1] == "/runs/site.toml"
    assert words[words.index("--cluster") + 1] == "site-idle-pairs"
    assert helm("template", "rg", str(CHART), "--set", "profile=../x").returncode != 0
