import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.profile import FOLDER, ProfileError, Rails, load, names, parse
from bench.plan import sizes

HEAD = 'format = 1\nname = "x"\ntitle = "x"\nsource = "x"\n'


@pytest.mark.parametrize("name", names())
def test_every_profile_that_ships_is_valid_and_its_bounds_have_sources(name):
    profile = load(name)
    assert profile.name == name
    assert profile.source
    for limit in profile.limits:
        assert limit.bound.source
        assert limit.bound.value > 0


def test_the_lambda_cluster_excludes_mlx5_0_and_is_sold_3200_gigabits():
    profile = load("lambda-1cc-h100")
    assert profile.rails.excluded == ("mlx5_0",)
    assert profile.environment["NCCL_IB_HCA"] == "^=mlx5_0"
    assert profile.rails.target.value == pytest.approx(400e9)
    assert profile.rails.count == 8


PLATFORMS = {
    # name: rails, kind, target, excluded, a rail called mlx5_0
    "lambda-1cc-h100": (8, "infiniband", 400e9, ("mlx5_0",), False),
    "lambda-1cc-b200": (8, "infiniband", 400e9, ("mlx5_0",), False),
    "lambda-on-demand": (0, "none", None, (), False),
    "runpod-instant-cluster": (8, "socket", None, ("eth0",), False),
    "hgx-h100-ndr": (8, "infiniband", 400e9, (), False),
    "azure-nd-h100-v5": (8, "infiniband", 400e9, ("mlx5_an0",), False),
    "oci-h100": (16, "roce", 400e9, ("mlx5_2", "mlx5_11"), True),
    "dgx-h100": (8, "infiniband", 400e9, ("mlx5_1", "mlx5_2", "mlx5_7", "mlx5_8"), True),
    "local": (0, "none", None, (), False),
    "hgx-h200-ndr": (8, "infiniband", 400e9, (), False),
    "hgx-b300": (8, "infiniband", 800e9, (), False),
    "gb200-nvl72": (4, "infiniband", 200e9, (), False),
    "gcp-a3-ultra": (8, "roce", 400e9, (), True),
    "gcp-a4": (8, "roce", 400e9, (), True),
    "coreweave-h100": (8, "infiniband", 400e9, (), False),
    "nebius-h100": (8, "infiniband", 400e9, (), True),
    "nebius-b200": (8, "infiniband", 400e9, ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"), False),
    "oci-b200": (8, "roce", 400e9, ("mlx5_1", "mlx5_2", "mlx5_7", "mlx5_8"), True),
    "aws-p5": (0, "none", None, (), False),
    "aws-p5en": (0, "none", None, (), False),
}


def test_every_platform_that_is_promised_ships():
    assert set(names()) >= set(PLATFORMS)


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_platform_is_as_its_sources_say(name):
    count, kind, target, excluded, zero = PLATFORMS[name]
    rails = load(name).rails
    assert (rails.count, rails.kind, rails.excluded) == (count, kind, excluded)
    assert (rails.target.value if rails.target else None) == (pytest.approx(target) if target else None)
    assert ("mlx5_0" in rails.devices) == zero
    assert bool(rails.open) == (name == "runpod-instant-cluster")


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_bound_has_a_date_and_a_confidence_and_sizes_that_are_measured(name):
    profile = load(name)
    measured = set(sizes(profile.sweep.begin, profile.sweep.end, profile.sweep.factor))
    for limit in profile.limits:
        assert limit.bound.date
        assert limit.bound.confidence != "stated"
        swept = profile.sweep.pair_sizes if limit.quantity == "rail_rate" else measured
        assert any(limit.size[0] <= size <= limit.size[1] for size in swept), limit
        # a floor on busbw is of the algorithm that NCCL chooses: a forced Ring cannot reach it on two nodes
        assert limit.quantity != "busbw" or limit.algorithm


@pytest.mark.parametrize(
    "name", [name for name, row in PLATFORMS.items() if row[1] in ("infiniband", "roce")]
)
def test_nccl_is_told_to_take_the_rails_and_leave_the_others(name):
    profile = load(name)
    assert profile.environment["NCCL_NET"] == ("gIB" if name.startswith("gcp-") else "IB")
    chosen = profile.environment.get("NCCL_IB_HCA", "")
    assert not profile.rails.excluded or chosen.startswith(("^=", "="))
    assert chosen in ("", f"^={','.join(profile.rails.excluded)}", f"={','.join(profile.rails.devices)}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml", "not TOML"),
        ("format = 1\n", "name is missing"),
        ("format = 99\n", "upgrade"),
        ("format = true\n", "whole number"),
        (HEAD + "colour = 1\n", "unknown key colour; known: .*cluster.*rails"),
        (HEAD + "[rails]\nkind = 'token-ring'\n", "token-ring.*infiniband"),
        (HEAD + "[rails]\ncount = 3\ndevices = ['a']\n", "count is 3, but devices names 1"),
        (HEAD + "[rails]\ncount = 1\ndevices = ['a']\nexcluded = ['a']\n", "a rail and excluded"),
        (HEAD + "[rails]\nrate = { value = '400' , source = 'x' }\n", "400.*Gb/s"),
        (HEAD + "[rails]\nrate = { value = '400 Gb/s' }\n", "source is missing"),
        (
            HEAD + "[rails]\nrate = { value = '400 Gb/s', source = 'x', confidence = 'sure' }\n",
            "sure.*published",
        ),
        (HEAD + "[rails]\nrate = { value = '0 Gb/s', source = 'x' }\n", "0 Gb/s.*above 0"),
        (HEAD + "[rails]\nin_network = 'yes'\n", "in_network must be true or false"),
        (
            HEAD
            + "[rails]\ncount = 2\nrate = { value = '100 Gb/s', source = 'x' }\n"
            + "target = { value = '300 Gb/s', source = 'x' }\n",
            "target 300 Gb/s is more than 2 rails of 100 Gb/s carry",
        ),
        (HEAD + "[cluster]\nalone = { value = '480 GB/s' }\n", "source is missing"),
        (HEAD + "[sweep]\ncollectives = ['allreduce2']\n", "allreduce2.*all_reduce"),
        (HEAD + "[sweep]\ndtype = 'fp8'\n", "fp8.*bfloat16"),
        (HEAD + "[sweep]\nbegin = '2M'\nend = '1M'\n", "begin must not exceed end"),
        (HEAD + "[sweep]\nfactor = 1\n", "factor"),
        (HEAD + "[cluster]\nnodes = [4, 2]\n", "least above its most"),
        (HEAD + "[environment]\nNCCL_NET = 1\n", "must be texts"),
        (HEAD.replace("'x'", '"x"').replace('name = "x"', 'name = "../x"'), "name '../x' must be letters"),
        (HEAD + "[[bounds]]\ncollective = 'all_reduce'\nsource = 'x'\n", "at_least is missing"),
        (HEAD + "[[bounds]]\ncollective = 'all_reduce'\nat_least = '1 GB/s'\n", "source is missing"),
        (HEAD + "bounds = 3\n", "list"),
        (HEAD + "a = " + "[\n" * 5000, "nested too deeply"),
        (HEAD + ".".join(["a"] * 20_000) + " = 1\n", "line of more than 4096 characters"),
        (HEAD + "# a comment\n" * 30_000, "longer than 256 KiB"),
    ],
)
def test_a_mistake_is_named_with_what_is_known(text, words):
    with pytest.raises(ProfileError, match=words):
        parse(text, "test.toml")


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ProfileError, match="lambda-1cc-h100.*local"):
        load("lambda")


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(ProfileError, match="No such file"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load(str(tmp_path / "binary.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ProfileError, match="not a regular file"):
        load(str(tmp_path / "pipe.toml"))


@given(st.integers(0, 3000))
def test_a_profile_cut_anywhere_is_valid_or_refused_in_one_line(cut):
    text = load("lambda-1cc-h100").text
    try:
        assert parse(text[:cut], "cut.toml").name == "lambda-1cc-h100"
    except ProfileError as error:
        assert "\n" not in str(error)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text):
    try:
        parse(text, "fuzz.toml")
    except ProfileError as error:
        assert "fuzz.toml" in str(error)


def test_sockets_are_bound_to_interfaces_and_never_to_the_names_of_hcas():
    assert Rails("roce", devices=("mlx5_1",)).interfaces == ()
    assert Rails("socket", devices=("eth1", "eth2")).interfaces == ("eth1", "eth2")


@pytest.mark.parametrize(
    ("rails", "good"),
    [
        ("kind = 'socket'\nmtu = 9000", True),
        ("kind = 'infiniband'\nmtu = 9000", True),
        ("kind = 'none'\nmtu = 9000", False),
        ("kind = 'roce'\nmtu = -1", False),
    ],
)
def test_an_mtu_that_nobody_would_check_is_refused(rails, good):
    text = f"format = 1\nname = 'x'\ntitle = 'x'\nsource = 'x'\n[rails]\n{rails}\n"
    if good:
        assert parse(text, "x").rails.mtu == 9000
    else:
        with pytest.raises(ProfileError, match="mtu"):
            parse(text, "x")


# what of the variables that NCCL's user guide and source name loads code, reads or writes a file, or connects
UNSAFE = (
    "NCCL_CONF_FILE", "NCCL_DEBUG_FILE", "NCCL_TOPO_FILE", "NCCL_TOPO_DUMP_FILE", "NCCL_GRAPH_FILE",
    "NCCL_GRAPH_DUMP_FILE", "NCCL_TUNER_CONFIG_FILE", "NCCL_PROFILE_DUMP_FILE", "NCCL_INSPECTOR_DUMP_DIR",
    "NCCL_NET_PLUGIN", "NCCL_TUNER_PLUGIN", "NCCL_PROFILER_PLUGIN", "NCCL_ENV_PLUGIN", "NCCL_GIN_PLUGIN",
    "NCCL_RMA_PLUGIN", "NCCL_CUDA_PATH", "NCCL_IBVERBS_LIB", "NCCL_LIBIBVERBS_SO", "NCCL_COMM_ID", "NCCL_RAS_ADDR",
    "TORCH_NCCL_DEBUG_INFO_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_PIPE_FILE", "GLOO_DEVICE_TRANSPORT_TCP_TLS_PKEY",
    "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PATH", "UCX_MODULE_DIR", "FI_PROVIDER_PATH", "CUDA_CACHE_PATH",
    "CUDA_INJECTION64_PATH", "OMP_DISPLAY_ENV",
)  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_a_profile_sets_nothing_that_loads_code_names_a_file_or_connects(name):
    with pytest.raises(ProfileError, match=rf"x.toml \[environment\]: a profile may not set {name}=x"):
        parse(HEAD + f'[environment]\n{name} = "x"\n', "x.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NCCL_IB_HCA", "=mlx5_0:1,mlx5_3"),
        ("NCCL_P2P_DIRECT_DISABLE", "1"),
        ("NCCL_IB_ADDR_RANGE", "10.0.0.0/8"),
        ("NCCL_DEBUG", "INFO"),
        ("TORCH_NCCL_BLOCKING_WAIT", "1"),
        ("GLOO_SOCKET_IFNAME", "eth1"),
        ("CUDA_DEVICE_MAX_CONNECTIONS", "1"),
    ],
)
def test_a_profile_tunes_nccl_and_torch(name, value):
    assert parse(HEAD + f'[environment]\n{name} = "{value}"\n', "x").environment == {name: value}
    with pytest.raises(ProfileError, match="may not set"):
        parse(HEAD + f'[environment]\n{name} = "/etc/{value}"\n', "x")


H100 = (FOLDER / "lambda-1cc-h100.toml").read_text()


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"44 GB/s"', '"44 Gb/s"', "line 128, [[bounds]] 8: '44 Gb/s' is 11.0 % of a rail's 400 Gb/s; did you mean 44"),
        ('"44 GB/s"', '"4.4 GB/s"', "8.8 % of a rail's 400 Gb/s; did you mean 44 GB/s"),
        ('"44 GB/s"', '"352 GB/s"', "704.0 % of a rail's 400 Gb/s; did you mean 352 Gb/s or 35.2 GB/s"),
        ('"44 GB/s"', '"0 GB/s"', "must be above 0"),
        ('"85 %"', '"8.5 %"', "[[bounds]] 3: '8.5 %' is 8.5 % of the target; did you mean 85 %"),
        ('"85 %"', '"0.85 %"', "did you mean 85 %"),
        ('"85 %"', '"850 %"', "'850 %' is 850.0 % of the target; did you mean 85 %"),
        ('"430 GB/s"', '"430 Gb/s"', "[[bounds]] 1: '430 Gb/s' is 13.4 % of the rails' 3200 Gb/s; did you mean 430 G"),
        ('"430 GB/s"', '"4300 GB/s"', "1075.0 % of the rails' 3200 Gb/s; did you mean 4300 Gb/s or 430 GB/s"),
        ("nodes = [2, 2]", "nodes = [99, 99]", "[99, 99] holds no number of nodes of this profile, [2, 64]"),
        ('"3200 Gb/s"', '"320 Gb/s"', "target 320 Gb/s is less than half of what 8 rails of 400 Gb/s carry"),
        ('budget = "4 s"', 'budget = "0 s"', "budget must be above 0"),
    ],
)  # fmt: skip
def test_a_slip_of_the_unit_is_refused_with_its_line_and_what_was_meant(was, now, said):
    assert was in H100
    with pytest.raises(ProfileError, match=re.escape(said)):
        parse(H100.replace(was, now), "mine.toml")


def test_a_floor_inside_a_node_is_held_against_nvlink():
    text = (FOLDER / "hgx-h100-ndr.toml").read_text()
    with pytest.raises(
        ProfileError, match=r"'440 Gb/s' is 12.2 % of NVLink's 450 GB/s; did you mean 440 GB/s"
    ):
        parse(text.replace('"440 GB/s"', '"440 Gb/s"'), "mine.toml")


def test_a_number_of_nodes_without_any_bound_beside_others_with_some_is_refused():
    text = H100.replace("nodes = [2, 64]\nsize", "nodes = [20, 64]\nsize").replace(
        "nodes = [2, 1024]", "nodes = [20, 64]"
    )
    text = text.replace("nodes = [2, 2]", "nodes = [20, 20]").replace("nodes = [3, 64]", "nodes = [30, 64]")
    with pytest.raises(
        ProfileError, match=r"none speaks of 2 nodes, which \[cluster\] nodes = \[2, 64\] allows"
    ):
        parse(text, "mine.toml")
    gap = HEAD + "[cluster]\nnodes = [2, 9]\n"
    for nodes in ("[2, 4]", "[6, 9]"):
        gap += f"[[bounds]]\ncollective = 'all_reduce'\nat_least = '1 GB/s'\nsource = 'x'\nnodes = {nodes}\n"
    with pytest.raises(ProfileError, match="none speaks of 5 nodes"):
        parse(gap, "mine.toml")
    assert len(parse(gap.replace("[6, 9]", "[5, 9]"), "mine.toml").limits) == 2


def test_a_low_floor_on_small_messages_is_no_slip():
    text = H100.replace(
        'size = ["4G", "16G"]\nat_least = "430 GB/s"', 'size = ["1M", "16M"]\nat_least = "4 GB/s"'
    )
    assert text != H100 and parse(text, "mine.toml")


def test_the_number_of_gpus_may_be_left_open():
    assert (load("lambda-on-demand").gpus, load("lambda-on-demand").gpu_counts) == (0, (1, 2, 4, 8))
    assert (load("dgx-h100").gpus, load("dgx-h100").gpu_counts) == (8, (8,))
    assert load("local").gpu_counts == ()


@pytest.mark.parametrize("given", ["[0, 8]", "[8, 8]", "true", '["8"]', "8.0", "[true]"])
def test_a_number_of_gpus_that_is_none_is_refused(given):
    text = load("dgx-h100").text.replace("gpus_per_node = 8", f"gpus_per_node = {given}")
    with pytest.raises(ProfileError, match="gpus_per_node|whole number"):
        parse(text, "mine")


@pytest.mark.parametrize("name", [name for name in names() if load(name).limits])
def test_a_shipped_profile_that_gates_speed_leaves_no_kind_of_row_without_a_bound(name):
    profile = load(name)
    derived = (profile.share_of_ceiling, profile.host_copies, profile.gpu_memory)
    assert all(bound and bound.source and bound.value > 0 for bound in derived)
    # a slipped unit: memory is faster than NVLink, which is faster than PCIe to the host
    assert profile.gpu_memory.value > profile.nvlink.value > profile.host_copies.value
    assert 0.1 <= profile.share_of_ceiling.value <= 0.9


@pytest.mark.parametrize(
    ("figure", "slipped", "said"),
    [
        (
            'share_of_ceiling = { value = "30 %"',
            '"0.3 %"',
            "share_of_ceiling '0.3 %' is 0.3 % of the ceiling, and 5 to 100 %",
        ),
        ('alone = { value = "480 GB/s"', '"480 Gb/s"', "alone '480 Gb/s' is 13 % of NVLink's 450 GB/s"),
        ('host_copies = { value = "12 GB/s"', '"12 Gb/s"', "host_copies '12 Gb/s' is 0.33 % of NVLink's"),
        ('gpu_memory = { value = "3350 GB/s"', '"3350 Gb/s"', "gpu_memory '3350 Gb/s' is 93 % of NVLink's"),
        ('nvlink = { value = "450 GB/s"', '"450 Gb/s"', "of NVLink's 450 Gb/s"),
    ],
)
def test_a_slipped_figure_of_one_node_is_refused(figure, slipped, said):
    text = load("lambda-1cc-h100").text
    assert figure in text
    with pytest.raises(ProfileError, match=re.escape(said)):
        parse(text.replace(figure, figure[: figure.rindex('"', 0, -1)] + slipped), "p.toml")


@pytest.mark.parametrize("value", ["600 W", "0.6 kW"])
def test_the_power_that_a_gpu_is_meant_to_draw_is_read_with_its_source(value):
    limit = parse(_limited(value), "p.toml").power_limit
    assert limit is not None
    assert (limit.value, limit.source) == (600.0, "contract")


@pytest.mark.parametrize(
    ("value", "said"), [("6 W", "power_limit '6 W' is no GPU's"), ("600", "'600' is not a power")]
)
def test_a_power_that_no_gpu_has_is_refused(value, said):
    with pytest.raises(ProfileError, match=re.escape(said)):
        parse(_limited(value), "p.toml")


def _limited(value: str) -> str:
    key = f'power_limit = {{ value = "{value}", source = "contract" }}'
    return load("lambda-1cc-h100").text.replace("nvlinks = 18", f"{key}\nnvlinks = 18")
