"""One prompt everywhere: messages, completions and their parser, text and token ids on the real tokenizer."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import chat_format as chat
from finetune.errors import FinetuneError

ENTITIES = [{"type": "quantity", "text": "2"}, {"type": "product", "text": 'the "big" 檯燈\\ \u2028'}]


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_base)


def test_the_system_text_names_every_label_with_its_description(make_project):
    task = make_project().task
    assert chat.system_text(task) == (
        "Sort the message. Answer with one label.\n"
        "- billing: about billing matters\n- shipping: about shipping matters\n- account: about account matters"
    )


def test_a_description_that_names_a_placeholder_stays_as_it_is(make_project):
    labels = [{"name": name, "description": "of {entity_types} and {labels}"} for name in ("{labels}", "b")]
    task = make_project(task={"output": {"labels": labels}, "system_prompt": "Choose.\n{labels}"}).task
    assert chat.system_text(task) == (
        "Choose.\n- {labels}: of {entity_types} and {labels}\n- b: of {entity_types} and {labels}"
    )


def test_the_system_text_follows_the_task_it_is_asked_for(make_project, tmp_path):
    first = make_project(root=tmp_path / "a").task
    second = make_project("extraction", root=tmp_path / "b").task
    texts = [chat.system_text(task) for task in (first, second, first)]
    assert texts[0] == texts[2] != texts[1]
    assert "- product: a product" in texts[1]


def test_the_input_is_passed_on_as_it_is_even_with_braces(make_project):
    task = make_project().task
    assert chat.prompt_messages(task, " {labels} {x} ") == [
        {"role": "system", "content": chat.system_text(task)},
        {"role": "user", "content": " {labels} {x} "},
    ]


@pytest.mark.parametrize(
    ("task_type", "reference", "text"),
    [
        ("classification", "billing", "billing"),
        ("extraction", ENTITIES[:1], '{"entities":[{"type":"quantity","text":"2"}]}'),
        ("extraction", [], '{"entities":[]}'),
        ("generation", "Thank you.\n  Bye", "Thank you.\n  Bye"),
    ],
)
def test_a_completion_is_written_in_its_one_form(make_project, task_type, reference, text):
    task = make_project(task_type).task
    assert chat.completion_text(task, reference) == text
    assert chat.parse_completion(task, text) == reference


def test_entities_of_any_text_come_back_from_their_json(make_project):
    task = make_project("extraction").task
    pair = st.fixed_dictionaries({"type": st.sampled_from(["product", "quantity"]), "text": st.text()})

    @given(st.lists(pair))
    def comes_back(entities):
        text = chat.completion_text(task, entities)
        assert "\n" not in text
        assert chat.parse_completion(task, text) == entities

    comes_back()


@pytest.mark.parametrize(
    ("answer", "label"), [(" billing\n", "billing"), ("BILLING", "billing"), ("billing.", None), ("", None)]
)
def test_a_label_counts_exactly_or_in_another_letter_case(make_project, answer, label):
    assert chat.parse_completion(make_project().task, answer) == label


def test_a_label_counts_in_every_normal_form(make_project):
    labels = [{"name": name, "description": name} for name in ("Été", "が", "Maße")]
    task = make_project(task={"output": {"labels": labels}}).task
    for name in ("Été", "が", "Maße"):
        assert chat.parse_completion(task, unicodedata.normalize("NFD", name)) == name
    assert chat.parse_completion(task, "e\u0301te\u0301") == "Été"


ONE = '{"entities":[{"type":"product","text":"lamp"}]}'


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (ONE, True),
        (f" {ONE} ", True),
        (f"```json\n{ONE}\n```", True),
        (f"```\n{ONE}\n```", True),
        (f"Here: {ONE}", False),
        (f"{ONE}{ONE}", False),
        (ONE[:-2], False),
        ("[]", False),
        ("{}", False),
        ('{"entities":[{"type":"colour","text":"red"}]}', False),
        ('{"entities":[{"type":"product","text":3}]}', False),
        ('{"entities":[{"type":"product"}]}', False),
        ('{"entities":[],"note":"x"}', False),
        ("\ud800", False),
        ('{"entities":' * 5000, False),
    ],
)
def test_extraction_accepts_its_json_alone_or_in_one_fence(make_project, answer, accepted):
    expected = [{"type": "product", "text": "lamp"}] if accepted else None
    assert chat.parse_completion(make_project("extraction").task, answer) == expected


@pytest.mark.parametrize(("thinking", "options"), [(None, {}), (False, {"enable_thinking": False})])
def test_thinking_is_passed_to_the_template_only_where_it_is_configured(make_project, thinking, options):
    training = make_project(training={"base_model": {"enable_thinking": thinking}}).training
    assert chat.template_options(training) == options


def test_the_prompt_ends_where_the_answer_begins(make_project, tokenizer):
    task = make_project().task
    text = chat.prompt_text(tokenizer, chat.prompt_messages(task, "where is it"), {})
    assert text == (
        f"<|im_start|>system\n{chat.system_text(task)}<|im_end|>\n"
        "<|im_start|>user\nwhere is it<|im_end|>\n<|im_start|>assistant\n"
    )


def test_prompt_and_completion_are_the_whole_conversation_of_the_template(make_project, tokenizer):
    task = make_project().task
    messages = chat.prompt_messages(task, "where is it")
    suffix = chat.completion_suffix(tokenizer, messages, {})
    ids = chat.encode_prompt(tokenizer, messages, {}) + chat.encode_completion(tokenizer, "shipping", suffix)
    whole = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": "shipping"}], tokenize=False)
    assert suffix == "<|im_end|>"
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids) == whole.rstrip("\n")
    assert ids == tokenizer(whole.rstrip("\n"), add_special_tokens=False)["input_ids"]


class Template:
    """A tokenizer that is nothing but a chat template."""

    def __init__(self, source: str, eos: str | None = "</s>") -> None:
        import jinja2

        def refuse(message: str) -> None:
            raise jinja2.TemplateError(message)

        self._template = jinja2.Environment().from_string(source)
        self._refuse, self.eos_token = refuse, eos

    def apply_chat_template(self, messages, *, tokenize, **options):
        return self._template.render(messages=messages, raise_exception=self._refuse, **options)


TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ end if m.role == 'assistant' }}{% endfor %}"


@pytest.mark.parametrize(
    ("closing", "suffix"),
    [("</s>", "</s>"), ("</s>\n", "</s>"), ("<end>\n", "<end>\n</s>"), ("", "</s>")],
)
def test_an_answer_always_ends_in_eos_whatever_the_template_writes(closing, suffix):
    template = Template(TURNS)
    assert chat.completion_suffix(template, [{"role": "user", "content": "hi"}], {"end": closing}) == suffix


@pytest.mark.parametrize(
    "template",
    [
        Template("{{ raise_exception('System role not supported') }}"),
        Template("no answer here"),
        Template(TURNS, eos=None),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_sentence(template):
    with pytest.raises(FinetuneError, match="choose a"):
        chat.completion_suffix(template, [{"role": "user", "content": "hi"}], {"end": ""})
