"""A few words that every text of a language has: if not two of them occur, it is a list, a table or noise."""

from collections import Counter

_LISTS = {
    "bg": "и в на за от да не се е са с по че това които като може при или ще си след бъде този тази",
    "ca": "i de la el els les que en un una per amb no"
    " és del al aquest aquesta són més pot també com si dels o",
    "cs": "a v na se že je do s pro z k o jsou"
    " není tak jako by který nebo jsem při když také může jen ale jeho",
    "da": "og i at det er en til på som for af ikke med"
    " der de den et eller kan du har fra også blev skal hvis om",
    "de": "und der die das ist in zu den von mit nicht ein"
    " eine auf für sich im des dem werden oder wird sie auch",
    "en": "the be to of and that have with a in is it for you this"
    " are by or on as if can not an from which at will has was but",
    "es": "y de la el los las que en un una por con no"
    " es del se para al como más este esta o su puede son también",
    "fr": "et de la le les des que en un une pour avec pas"
    " est du dans il ce cette vous sur par ou sont qui au peut",
    "hr": "i u na je da se za od su s ne koji što"
    " kao ili nije biti ako može iz koja kako po bi samo kada ovaj",
    "hu": "a az és hogy nem is egy ez meg vagy van csak ha de ezt lehet amely kell mint volt el fel más azt",
    "it": "e di la il che in un una per con non è del i"
    " le da si della dei gli nel alla sono come questo questa può o",
    "ja": "の は を に が と で た し て も な い る",
    "nl": "en de het een van in is dat op te zijn met niet"
    " voor die er aan wordt of bij worden deze kunt als naar u",
    "pl": "i w na z się nie do że jest to o jak ale"
    " po za lub dla przez jego który tym można są być tylko jeśli od",
    "pt": "e de a o que em um uma para com não é do da"
    " os as se por mais ao na no ou como são pode este esta dos",
    "ro": "și de la în cu nu pe o un care este din să"
    " se mai al sau pentru a fi poate acest această au prin dacă ale",
    "ru": "и в на не что с по как это для из к от"
    " за но он или если вы может быть при его были так же которые",
    "sl": "in v na je da se za ne so ki s z pa po kot ali lahko če tudi bi bo pri ta od to sem vse še",
    "sr": "и у на је да се за од су не који што као или није бити ако може из"
    " која како по би само i u na je da se za od su ne koji što kao ili",
    "sv": "och i att det är en till på som för av inte med den de ett du om kan eller har från detta var vid",
    "uk": "і в на не що з у та до як це для від за"
    " але й є або якщо може бути при його так також із які цей ви",
    "zh": "的 是 在 了 不 和 一 有 人 以 中 为 為 可",
}

STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _LISTS.items()
}

_LANGUAGES_OF = Counter(word for words in STOP_WORDS.values() for word in words)
# The lists of these share most of their words; to tell one from others, the sister does not count.
_SISTERS = {"hr": "sr", "sr": "hr"}

OWN_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(
        word
        for word in words
        if _LANGUAGES_OF[word] - (word in STOP_WORDS.get(_SISTERS.get(language, ""), ())) == 1
    )
    for language, words in STOP_WORDS.items()
}
"""Those of a language's stop words that no other language's list has (but hr and sr)."""
