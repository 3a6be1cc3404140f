"""Planted leakage: how many copies of test rows in the training data are caught, and how many rows are accused wrongly.

    python benchmarks/leakage.py PATH/TO/banking77/train.csv

The file has the columns text and category (Banking77, PolyAI, CC-BY-4.0; not part of this project). Fifty of its test
rows are copied into the training split for each kind of copy, and fifty questions in Traditional Chinese, written for
this file, likewise. A copy is caught when step 01 names its line: as a duplicate where its input is the same after
normalisation (such a copy always lies in the split of its original), otherwise as a near-duplicate that is left out.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path[:0] = [str(TEMPLATE), str(ROOT / "tests" / "package")]

import msgspec  # noqa: E402

from conftest import benchmark_values, task_values, training_values  # noqa: E402
from finetune.config.benchmark import BenchmarkConfig  # noqa: E402
from finetune.config.project import Project  # noqa: E402
from finetune.config.task import TaskDefinition  # noqa: E402
from finetune.config.training import TrainingConfig  # noqa: E402
from finetune.data.checks import Checks  # noqa: E402
from finetune.data.scan.near_duplicates import pair_set, pairs, similarity  # noqa: E402
from finetune.data.scan.survey import survey  # noqa: E402
from finetune.data.splits import assign  # noqa: E402
from finetune.data.text_rules import input_key, normalise  # noqa: E402
from finetune.errors import Problems  # noqa: E402
from finetune.paths import Paths  # noqa: E402

PLANTED = 50
CAUGHT = {"W131", "E131", "E132", "E133", "W134", "E134"}
CHINESE = [
    "我上個禮拜就申請了新的金融卡，可是到今天都還沒有收到",
    "請問從國外匯款到我的帳戶，大概需要幾個工作天才會入帳",
    "我剛剛在提款機領錢，機器沒有吐鈔但是帳戶已經被扣款了",
    "為什麼我的信用卡帳單上會有一筆我不認得的境外消費",
    "我想把帳戶裡的美金換成新台幣，請問現在的匯率怎麼算",
    "手機遺失了，我擔心有人會登入我的網路銀行，該怎麼辦",
    "我的提款卡被機器吃掉了，要到哪裡才能把卡片領回來",
    "請問虛擬信用卡可以用來綁定行動支付或是訂閱服務嗎",
    "上個月的刷卡金額重複扣了兩次，可以幫我查詢並退款嗎",
    "我忘記網路銀行的密碼，連續輸入錯誤之後帳號被鎖住了",
    "申請開戶的時候一直顯示身分驗證失敗，不知道哪裡有問題",
    "我要怎麼把每個月的薪資設定成自動轉入另一個儲蓄帳戶",
    "昨天晚上轉帳給朋友的錢，對方說到現在都還沒有收到款項",
    "請問海外提款一天的上限是多少，手續費又是怎麼計算的",
    "我不小心把錢轉到錯誤的帳號，有沒有辦法可以追回來",
    "信用卡上的英文姓名拼錯了，請問要怎麼申請更換新的卡片",
    "為什麼我用支票存款之後，帳戶的餘額一直都沒有更新",
    "我想取消昨天預約的轉帳交易，但是在畫面上找不到按鈕",
    "請問外國人要準備哪些證件，才能在你們銀行開立帳戶",
    "我的卡片快要到期了，新的卡片會自動寄到家裡給我嗎",
    "剛才在網路商店付款被拒絕，可是我的額度明明還很夠用",
    "請問每一筆國際匯款會收取多少費用，有沒有優惠的方案",
    "我收到一封自稱是貴行寄來的簡訊，要我點連結更新資料",
    "退貨已經兩個星期了，店家說退款了但我的帳戶沒有看到",
    "想請問提前清償信用貸款的話，需要支付違約金或手續費嗎",
    "我搬家了，請問要怎麼更改帳單和卡片寄送的通訊地址",
    "為什麼我加值到電子錢包的金額一直顯示為處理中的狀態",
    "我可以同時擁有兩張不同的實體金融卡連結到同一個帳戶嗎",
    "請問青少年滿幾歲才可以自己申請帳戶和使用簽帳金融卡",
    "用手機感應付款的時候一直失敗，插卡卻可以正常使用",
    "我的帳戶突然被限制使用，客服電話又一直打不進去",
    "請問要如何在應用程式裡面查看我的卡片密碼或是重新設定",
    "薪水已經匯出三天了，為什麼公司說有匯而我卻查不到",
    "我想知道這筆跨行轉帳為什麼會被多收十五元的手續費",
    "在國外旅遊時刷卡，帳單上的匯率和當天公告的不一樣",
    "請幫我把遺失的卡片先停用，如果找到了還能再恢復嗎",
    "我申請的貸款額度被調降了，可以告訴我審核的原因嗎",
    "請問我可以指定別人代替我到分行領取新辦好的金融卡嗎",
    "線上更新個人資料之後，系統一直要求我重新上傳身分證",
    "自動加值的功能要在哪裡開啟，每次最低的金額是多少",
    "我想關閉這個帳戶，裡面剩下的餘額可以轉到哪裡去呢",
    "請問你們支援哪些國家的貨幣，可以直接用外幣付款嗎",
    "我的朋友從歐洲匯錢給我，請問需要提供哪些銀行代碼",
    "信用卡的現金回饋這個月少算了，請協助確認活動內容",
    "提款機給我的鈔票金額不對，少了一千元應該如何申訴",
    "我換了新手機，原本綁定的裝置驗證碼收不到要怎麼處理",
    "請問臨時調高信用卡額度要多久才會生效，可以用多久",
    "我在加油站被預先授權扣了一筆錢，什麼時候會還給我",
    "明明已經繳了信用卡費，為什麼還是收到逾期繳款的通知",
    "請問這張卡可以在超商的提款機免手續費領取現金嗎",
]


def overlap(text: str, draw: random.Random) -> str:
    """Nine in ten words (Chinese: characters) of `text`; the others are replaced, left out or doubled."""
    chinese = any("\u4e00" <= sign <= "\u9fff" for sign in text)
    parts = list(text) if chinese else text.split()
    for _ in range(max(1, (len(pairs([normalise(text)])[0]) - 1) // 10)):
        at = draw.choice([n for n, part in enumerate(parts) if any(sign.isalnum() for sign in part)])
        way = draw.randrange(3)
        if way == 0:
            parts[at] = "某" if chinese else "something"
        elif way == 1:
            parts[at] = ""
        else:
            parts.insert(at, parts[at])
    return ("" if chinese else " ").join(filter(None, parts))


def full_width(text: str, _: random.Random) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


def spaced(text: str, draw: random.Random) -> str:
    chinese = any("\u4e00" <= sign <= "\u9fff" for sign in text)
    return f"\t{text}\u3000" if chinese else f" {text.replace(' ', ' ' * draw.randint(2, 4))}\n"


def punctuated(text: str, draw: random.Random) -> str:
    kept = "".join(sign for sign in text if sign.isalnum() or sign in " '-")
    return draw.choice(["«", "— ", "(", "… "]) + kept + draw.choice(["!!", " …", ")", "；", " ~"])


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "exact": lambda text, _: text,
    "case": lambda text, _: text.upper(),
    "white space": spaced,
    "full width": full_width,
    "punctuation": punctuated,
    "90 % overlap": overlap,
}


def split_of(text: str, project: Project) -> str:
    return assign(b"input\0" + input_key(text), project.benchmark.splits)


def found_in(project: Project, rows: list[dict[str, str]]) -> tuple[list[tuple[int, str]], Checks]:
    """(line, code) of every problem of one row, and the judgement."""
    file = project.paths.raw / "rows.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    problems = Problems(keep=1_000_000)
    checks = Checks(survey(project, [(file, "rows.jsonl")], problems))
    checks.run()
    return [(problem.line, problem.code) for problem in problems.all if problem.line], checks


def plant(project: Project, rows: list[dict[str, str]], kind: str, chosen: list[dict[str, str]]) -> int:
    """How many of the copies of `chosen` are caught."""
    draw = random.Random(kind)
    copies = []
    for row in chosen:
        for _ in range(200):
            text = KINDS[kind](row["input"], draw)
            if normalise(text) == normalise(row["input"]) or split_of(text, project) == "train":
                break
        copies.append({"input": text, "label": row["label"]})
    found, _ = found_in(project, [*rows, *copies])
    caught = {line - len(rows) for line, code in found if line > len(rows) and code in CAUGHT}
    for number, (row, copy) in enumerate(zip(chosen, copies, strict=True), 1):
        if number not in caught:
            score = similarity(pair_set(row["input"]), pair_set(copy["input"]))
            print(f"    missed, {score:.2f}: {row['input']}  |  {copy['input']}")
    return len(caught)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="Banking77's train.csv")
    options = parser.parse_args()
    with open(options.source, encoding="utf-8", newline="") as stream:
        english = [{"input": row["text"].strip(), "label": row["category"]} for row in csv.DictReader(stream)]
    labels = sorted({row["label"] for row in english})
    task = task_values("classification")
    task["output"]["labels"] = [{"name": name[:64], "description": name.replace("_", " ")} for name in labels]
    task["input"]["max_chars"] = 2000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data" / "raw").mkdir(parents=True)
        benchmark = BenchmarkConfig.model_validate(benchmark_values())
        splits = benchmark.splits
        training = TrainingConfig.model_validate(training_values())
        project = Project(Paths(root), TaskDefinition.model_validate(task), training, benchmark)
        found, checks = found_in(project, english)
        counted = Counter(code for _, code in found)
        print(f"clean set: {len(english):,} rows; " + ", ".join(f"{code} {n}" for code, n in sorted(counted.items())))
        out, other = len(checks.left_out), checks.near_conflicts
        print(f"  near-duplicates left out: {out} of {checks.accepted:,} rows, {other} of them labelled otherwise")
        for near in checks.left_out[:: max(1, len(checks.left_out) // 12)]:
            here, there = (english[row]["input"] for row in (near.row, near.other))
            print(f"    {near.score:.2f}  {here}  |  {there}")
        held = next(name for name in map(str, range(100)) if assign(f"group\0{name}".encode(), splits) == "test")
        chinese = [{"input": text, "label": labels[n % 77], "group": held} for n, text in enumerate(CHINESE)]
        for language, base in (("English", english), ("Chinese", english + chinese)):
            draw = random.Random(language)
            mine = english if language == "English" else chinese
            kept = [row for row in mine if len(pairs([normalise(row["input"])])[0]) > 10]
            in_test = [row for row in kept if split_of(row["input"], project) == "test"]
            # Few Chinese questions lie in the test split by themselves: their group puts them there.
            chosen = draw.sample(in_test, PLANTED) if language == "English" else kept
            for kind in KINDS:
                print(f"{language}, {kind}: {plant(project, base, kind, chosen)} of {len(chosen)} caught", flush=True)


if __name__ == "__main__":
    main()
