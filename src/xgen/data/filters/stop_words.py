"""A few words that every text of a language has: if not two of them occur, it is a list, a table or noise."""

STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "bg": "и в на за от да не се е са с по че това които",
        "ca": "i de la el els les que en un una per amb no és del",
        "cs": "a v na se že je do s pro z k o jsou není tak jako by",
        "da": "og i at det er en til på som for af ikke med der de den et",
        "de": "und der die das ist in zu den von mit nicht ein eine auf für sich im",
        "en": "the be to of and that have with a in is it for",
        "es": "y de la el los las que en un una por con no es del se para",
        "fr": "et de la le les des que en un une pour avec pas est du dans il",
        "hr": "i u na je da se za od su s ne koji što kao ili",
        "hu": "a az és hogy nem is egy ez meg vagy van csak ha de",
        "it": "e di la il che in un una per con non è del i le da si",
        "ja": "の は を に が と で た し て も な い る",
        "nl": "en de het een van in is dat op te zijn met niet voor die er",
        "pl": "i w na z się nie do że jest to o jak ale po za",
        "pt": "e de a o que em um uma para com não é do da os as se",
        "ro": "și de la în cu nu pe o un care este din să se mai al",
        "ru": "и в на не что с по как это для из к от за но он",
        "sl": "in v na je da se za ne so ki s z pa po kot ali",
        "sr": "и у на је да се за од су не који што као или i u na je da se za od su ne koji što kao ili",
        "sv": "och i att det är en till på som för av inte med den de ett",
        "uk": "і в на не що з у та до як це для від за але й є",
        "zh": "的 是 在 了 不 和 一 有 人 以 中 为 為 可",
    }.items()
}
