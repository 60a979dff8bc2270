"""Opening folders: whole, unfinished, damaged, foreign, hostile."""

import json
import logging

import numpy as np
import pytest
import torch

from zhixing.errors import ConfigError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models import families
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load, load_model
from zhixing.models.mixture import Gate, MixtureModel
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.save import companion_files, mixture_files, neural_files
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.chat_template import ChatTemplate

TOKENIZER = ByteTokenizer()
SHAPE = {"vocab_size": TOKENIZER.vocab_size, "context_length": 16, "layers": 1, "width": 8, "heads": 2}
GPT2 = GPT2Settings(**SHAPE)
LLAMA = LlamaSettings(**SHAPE, inner_width=8)


def module_of(settings, seed=0):
    torch.manual_seed(seed)
    module = build_decoder(settings)
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0, 0.3)
    return module


def write(folder, settings=GPT2, seed=0, tokenizer=TOKENIZER, template=None, **config):
    files = neural_files(module_of(settings, seed), settings, tokenizer.separator_id)
    changed = json.loads(files["config.json"]) | config
    files["config.json"] = json.dumps({name: value for name, value in changed.items() if value is not ...})
    write_folder(folder, {**files, **companion_files(tokenizer, template)}, facts={"seed": seed})
    return folder


def write_mixture(folder, *members):
    settings = [GPT2, LLAMA]
    for index, member in enumerate(members):
        write(member, settings[index])
    models = [load_model(member) for member in members]
    model = MixtureModel(models, Gate(np.full((1, 1, 2), 0.5), np.zeros(1), span=4))
    write_folder(folder, {**mixture_files(model, members), **companion_files(TOKENIZER)}, facts={})
    return model


def said(model):
    return model.score(np.arange(10)[None])


def test_everything_comes_back(tmp_path):
    template = ChatTemplate(TOKENIZER)
    loaded = load(write(tmp_path / "model", template=template))
    assert loaded.path == tmp_path / "model" and loaded.facts == {"seed": 0}
    assert loaded.tokenizer.separator_id == TOKENIZER.separator_id
    assert loaded.chat_template is not None and loaded.chat_template.source == template.source
    np.testing.assert_array_equal(said(loaded.model), said(NeuralLanguageModel(module_of(GPT2))))
    assert load(str(tmp_path / "model")).model.family == "gpt2"


def test_loading_draws_no_random_numbers(tmp_path):
    write(tmp_path / "model", LLAMA)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_manifest_it_opens_and_says_so(tmp_path, caplog):
    write(tmp_path / "model")
    (tmp_path / "model" / "MANIFEST.json").unlink()
    with caplog.at_level(logging.INFO):
        assert load(tmp_path / "model").facts == {}
    assert "MANIFEST.json" in caplog.text


# ---------------------------------------------------------------- what is no model folder


def test_no_folder_and_no_model(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ModelFolderError, match=str(path)):
            load(path)


def test_an_unknown_family_names_the_nearest(tmp_path):
    with pytest.raises(ModelFolderError, match=r"model_type = 'llama4'.*did you mean 'llama'\?"):
        load(write(tmp_path / "model", model_type="llama4"))


@pytest.mark.parametrize("value", [..., None, 7, ["x"], "", "zzzzzz"])
def test_a_family_that_is_none_names_all(tmp_path, value):
    known = ", ".join(sorted([*families.NEURAL, *families.STATISTICAL]))
    with pytest.raises(ModelFolderError, match=rf"model_type.*known: {known}"):
        load(write(tmp_path / "model", model_type=value))


def test_a_tokenizer_with_more_ids_than_the_model(tmp_path):
    small = GPT2.replace(vocab_size=200)
    with pytest.raises(ModelFolderError, match=f"tokenizer has {TOKENIZER.vocab_size} ids, the model only 200"):
        load(write(tmp_path / "model", small))


def test_weights_that_are_not_numbers(tmp_path):
    module = module_of(GPT2)
    with torch.no_grad():
        module.blocks[0].attention.output.bias[3] = float("nan")
    files = neural_files(module, GPT2, TOKENIZER.separator_id)
    write_folder(tmp_path / "model", {**files, **companion_files(TOKENIZER)}, facts={})
    with pytest.raises(ModelFolderError, match=r"NaN.*transformer\.h\.0\.attn\.c_proj\.bias"):
        load(tmp_path / "model")


def test_a_flipped_byte(tmp_path):
    file = write(tmp_path / "model") / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        load(tmp_path / "model")


def test_weights_of_another_shape_are_listed(tmp_path):
    with pytest.raises(ModelFolderError, match=r"model\.layers\.0\.mlp\.up_proj\.weight \(8, 8\) ≠ \(9, 8\)"):
        load(write(tmp_path / "model", LLAMA, intermediate_size=9))


def test_no_code_is_ever_run(tmp_path, caplog):
    """``auto_map`` and its kin are dropped with a warning; the Python file beside stays unread."""
    folder = write(
        tmp_path / "model",
        auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"},
        trust_remote_code=True,
    )
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')", encoding="utf-8")
    model = load(folder).model
    assert not (tmp_path / "marker").exists()
    assert "auto_map" in caplog.text and "trust_remote_code" in caplog.text
    np.testing.assert_array_equal(said(model), said(NeuralLanguageModel(module_of(GPT2))))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "mps"])
def test_a_device_that_is_not_there(tmp_path, device):
    with pytest.raises(ConfigError, match=device):
        load(write(tmp_path / "model"), device=device)


# ---------------------------------------------------------------- an unfinished run


def run_folder(path, *steps):
    for step in steps:
        write(path / "training_state" / f"step-{step:08d}", seed=step)
    return path


def test_an_unfinished_run_opens_at_its_newest_checkpoint(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        loaded = load(run_folder(tmp_path / "run", 5, 20, 100))
    assert loaded.facts == {"seed": 100} and "step-00000100" in caplog.text
    (tmp_path / "run" / "training_state" / "step-00000200").mkdir()  # begun, not committed
    assert load(tmp_path / "run").facts == {"seed": 100}


def test_steps_beyond_eight_digits_are_later_not_earlier(tmp_path):
    assert load(run_folder(tmp_path / "run", 99_999_999, 100_000_000)).facts == {"seed": 100_000_000}


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "MANIFEST.json"])
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, caplog, file):
    newest = run_folder(tmp_path / "run", 5, 20) / "training_state" / "step-00000020"
    damaged = (newest / file).read_bytes()[:-5]
    (newest / file).write_bytes(damaged)
    assert load(tmp_path / "run").facts == {"seed": 5}
    assert "step-00000020" in caplog.text and file in caplog.text


def test_when_all_are_damaged_the_error_says_so(tmp_path, caplog):
    for step in (run_folder(tmp_path / "run", 5, 20) / "training_state").iterdir():
        (step / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match="no whole checkpoint"):
        load(tmp_path / "run")


def test_a_finished_run_is_its_folder_not_its_checkpoints(tmp_path):
    write(run_folder(tmp_path / "run", 5).parent / "whole", seed=77)
    (tmp_path / "run" / "training_state").rename(tmp_path / "whole" / "training_state")
    assert load(tmp_path / "whole").facts == {"seed": 77}


# ---------------------------------------------------------------- mixtures


@pytest.mark.parametrize(
    "members", ["0", None, [".."], ["."], [""], ["0/../../x"], ["/etc"], [7], ["0", "..\\x"], [{}]]
)
def test_members_that_lead_elsewhere(tmp_path, members):
    write_mixture(tmp_path / "mixture", tmp_path / "a", tmp_path / "b")
    (tmp_path / "mixture" / "MANIFEST.json").unlink()
    config = json.loads((tmp_path / "mixture" / "config.json").read_text(encoding="utf-8"))
    config["members"] = members
    (tmp_path / "mixture" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        load(tmp_path / "mixture")


def test_members_go_to_the_device_too(tmp_path):
    write_mixture(tmp_path / "mixture", tmp_path / "a", tmp_path / "b")
    with pytest.raises(ConfigError, match="nonsense"):
        load(tmp_path / "mixture", device="nonsense")


def test_a_damaged_member_is_refused(tmp_path):
    write_mixture(tmp_path / "mixture", tmp_path / "a", tmp_path / "b")
    file = tmp_path / "mixture" / "members" / "1" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelFolderError, match=r"members/1/model\.safetensors"):
        load(tmp_path / "mixture")
