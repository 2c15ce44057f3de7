"""Stop words by language: what the signal `stop_words` counts. A language without a list is given the English one."""

STOP_WORDS: dict[str, tuple[str, ...]] = {
    # "at least two of the following English words": Gopher, arXiv 2112.11446, section A.1.1
    "en": ("the", "be", "to", "of", "and", "that", "have", "with"),
    # FineWeb-2, arXiv 2506.20920; github.com/huggingface/fineweb-2, configs/{cmn_Hani,yue_Hani,jpn_Jpan,kor_Hang}.yml
    # as of 2025-06-16. The words are those of its tokenizers: jieba, Sudachi, Kiwi.
    "zh": tuple("的年在月是和日了於·為有被人中为他與後也而由"),
    "yue": (*"嘅係年喺有佢月個咗一同呢人唔都到號國啲後就會市鎮而嚟由嗰做為", "香港", "可以"),
    "ja": tuple("のにをはたてがとで年し・月れさ"),
    "ko": (*"의다이는에을한년하은를했고가있인월로되", "에서", "으로"),
}
