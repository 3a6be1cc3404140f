"""Chinese that people in Taiwan write: no Simplified character, no word of the mainland, full-width signs."""

from __future__ import annotations

import re

from finetune.data.languages import simplified_only

_PAIRS = """
數據:資料 默認:預設 缺省:預設 視頻:影片 軟件:軟體 硬件:硬體 信息:訊息/資訊
網絡:網路 文件夾:資料夾 內存:記憶體 服務器:伺服器 登錄:登入 用戶:使用者 搜索:搜尋
鏈接:連結 接口:介面 調用:呼叫 運行:執行 支持:支援 屏幕:螢幕 打印:列印
字符:字元 返回:傳回 加載:載入 模塊:模組 插件:外掛 密鑰:金鑰 推理:推論
配置:設定 質量:品質 優化:最佳化 訓練集:訓練資料 沒過:未通過 代碼庫:程式碼庫 程序員:工程師
腳手架:範本
"""
ELSEWHERE = {word: ours for word, _, ours in (pair.partition(":") for pair in _PAIRS.split())}
"""Words of other places, and what is said in Taiwan."""
_HALF = re.compile(r"[\u4e00-\u9fff][,;:?!][ \u4e00-\u9fff]|[\u4e00-\u9fff] ?\([^)]*[\u4e00-\u9fff]")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def faults(text: str) -> list[str]:
    """What a reader in Taiwan would stumble over; code is left out."""
    prose = _CODE.sub("", text)
    found = [f"Simplified {sign}" for sign in sorted(set(prose) & simplified_only())]
    found += [f"{word}: {ours}" for word, ours in ELSEWHERE.items() if word in prose]
    return found + [f"half-width: {match[0]}" for match in _HALF.finditer(prose)]
