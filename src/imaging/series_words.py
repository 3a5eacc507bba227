"""Words of series descriptions, as five vendors and five languages write them.

A description is free text and can name a person, so nothing of it is kept but which
words of a closed vocabulary it holds. A word counts whole: a surname that begins like
one is none.
"""

import re
import unicodedata
from typing import Literal

Plane = Literal["sagittal", "coronal", "axial"]
Contrast = Literal["T1", "T2", "another contrast"]

# A token and the words that stand for it: English, German, Spanish, French, Turkish,
# in small letters without accents. A space is any run of blanks and punctuation.
VOCABULARY: dict[str, str] = {
    "sag": r"sag|sagi|sagit|saggital|sagital(e|es)?|sagit?ta(l|le|les|len|ux)|sagitaux"
    r"|sajit?tal",
    "cor": r"cor|coro|coron|coronal(e|es)?|coronaux|kor|koro|koronal|koronar"
    r"|frontal(e|es)?",
    "ax": r"ax|axi|axial(e|es|en)?|axiaux|axiaal|aks|aksial|aksiyel|tra|trans|transv"
    r"|transvers(al|ale|ales|alen|aux|e|o|a)?|transaxial|transaksiyel",
    "t1": r"t1",
    "t2": r"t2",
    "t2star": r"t2\*|t2 ?star|medic|merge|mergge|mffe|m ffe|mpgr|adage",
    "pd": r"pd|pdw|dp|rho|proton ?density|protonen\w*|densidad protonica"
    r"|densite (de )?protons?|proton ?yogunlu\w*",
    "stir": r"stir|tirm|t2 ?tirm",
    "flair": r"flair|dark fluid",
    "fatsat": r"fs|fatsat|fat ?s|fat ?sat\w*|fat ?sup\w*|spair|spir|chess|chem ?sat"
    r"|fatsupp?|fett(sat|gesattigt\w*|supp\w*|unterdr\w*)|sat(uration)? graisse"
    r"|supresion (de )?grasa|sat(uracion)? grasa|yag ?bask\w*|water ?exc\w*",
    "dixon": r"m?dixon|dixon\w|ideal|iqdixon|flex|wfop|wfs",
    "fat-fraction": r"fat ?(fraction|frac|frak\w*)|ff|pdff|fraccion grasa"
    r"|fraction graisse\w*|fettfraktion|yag fraksiyon\w*",
    "localizer": r"loc|locs|locali[sz](er|ers|ador|acion|ation)|localisateur|locator"
    r"|lokali[sz](er|ator|ation|or|asyon)|scout|scouts|scoutview|survey|surveys|pilote?"
    r"|topo|topogramm?|topogramme|scano|scanogram|reperages?|reperes?|vorschau"
    r"|ue?bersicht|planscan|plan scan|(3|three|tri) ?(pl|plan|plane|planes|planar)",
    "diffusion": r"dwi|dw|dti|diff|diffu|diffusion\w{0,3}|difusion|difuzyon|epi|ep2d"
    r"|ep b\d+|b ?(50|[1-9]\d00|1[0-9]00)|tracew?|resolve|ivim|tensor",
    "adc": r"e?adc|apparent diffusion\w*",
    "myelogram": r"mrm|(mr|rm) ?m[iy]elo|m(y|i|iy)elo|m(y|i|iy)elogra\w+",
    "projection": r"mips?|minip|projection|projektion|proyeccion|radial",
    "reformat": r"mprs?|mpvr|cpr|reformat\w*|reformation|curved",
    "subtraction": r"subs?|subtra\w+|subtrak\w+|sustraccion|substraccion"
    r"|soustraction|cikarma",
    "screenshot": r"screen ?(shots?|save|saves|capture|cap)|screen|(key|schlussel) ?"
    r"(images?|bilder|bild)|images? cles?|secondary capture|posdisp|snapshot"
    r"|ekran goruntusu|captura",
    "map": r"(t1|t2|r2|parameter|param|b0|b1|field) ?map\w*|mapit",
    "calibration": r"asset( cal)?|calibration|cal|ref scan|refscan|coil ?survey"
    r"|shim\w{0,4}|prescan",
    "perfusion": r"perfusion|perf|dce|dynamic|dyn|dynamisch|twist|tricks",
    "angiography": r"mra|angio\w{0,8}|tof",
    "susceptibility": r"swi|swan|venobold",
    "gradient-echo": r"gre|flash|fl[23]d\d?|ffe|fspgr|spgr|vibe|lava|thrive|mprage"
    r"|tfl|ssfp|bssfp|bffe|b ffe|balanced( ffe)?|trufi|truefisp|true ?fisp|fisp|fiesta"
    r"|ciss|me[23]d\d?|grass|echo (de )?gradient|eco (de )?gradiente",
    "contrast-agent": r"post(?! ?(op\w*|surg\w*|proc\w*|lam\w*))|gd|gad|gado\w{0,6}|km|"
    r"kontrast\w{0,6}|contraste?|\+ ?c|c ?\+|inj|injecte?s?|injection|enhanced|ivkm"
    r"|dotarem|prohance|clariscan|magnevist|gadovist",
    "lumbar": r"lumbar|lumbal\w{0,3}|l ?(s )?spine|lspine|lws|lumbosacr\w+|lombaires?"
    r"|lombosacre|lomber|lombalgie|thoraco ?lumbar|lumbo\w*",
    "cervical": r"cervical(e|es)?|c ?spine|hws|servikal|zervikal|cervicaux",
    "thoracic": r"thoracic|t ?spine|th ?spine|bws|thora[ck]al|torakal|torasik"
    r"|thoracique|(columna|rachis) dorsale?|toracica",
    "whole-spine": r"(whole|total|full|entire) ?spine|rachis (entier|complet)|gws"
    r"|columna (total|completa|entera)|ganze? (ws|wirbelsaule)|tum (spinal|vertebra)",
    "other-part": r"brain|cranium|cranial|cerebral|knee|rodilla|genou|shoulder|pelvis"
    r"|abdomen|prostate|liver|sacro ?ilia(c|que|ca)|sakroiliak|isg|hip|hips",
    "in-phase": r"ip|in|in ?ph(ase)?|en phase|en fase",
    "opposed-phase": r"opp?|(opp?|out|opposed|opposite)( of)? ?pha?s?e?|outphase|"
    r"opp?ph|opposition de phase|gegenphase",
    "water": r"w|water|wasser|agua|eau",
    "fat": r"f|fat|fett|grasa|graisse|yag",
}
# These letters are a Dixon image only beside a word that says so: OP is an operation.
DIXON_ONLY = {"in-phase", "opposed-phase", "water", "fat"}
DIXON_CONTEXT = {"dixon", "fat-fraction"}
# Not shown to any network: another contrast, or no picture of the scanner's own.
OTHER_CONTRASTS = {
    *("pd", "fat-fraction", "localizer", "diffusion", "adc", "myelogram"),
    *("projection", "reformat", "subtraction", "screenshot", "map", "calibration"),
    *("perfusion", "angiography", "susceptibility"),
    *("in-phase", "opposed-phase", "fat"),
}
PLANES: dict[str, Plane] = {"sag": "sagittal", "cor": "coronal", "ax": "axial"}
_PATTERNS = {
    token: re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9*])")
    for token, pattern in VOCABULARY.items()
}
# Words that people write as one: sagT2, T2W_TSE, axt1fse. Each part must be known.
_GLUED = re.compile(
    r"(?<![a-z0-9])(sag|s(?=t[12])|ax|axi|tra|trans|cor|kor)?(t[12]|pd|stir|tirm|dwi|flair)"
    r"(w|wi|wt)?(tse|fse|frfse|se|tirm|stir|spair|spir|fs|flair|ffe|gre)?"
    r"(sag|ax|tra|cor|kor)?(fs)?(?![a-z0-9])"
)
# Vertebrae, which are called T1 and T2 as well: T1-T12, C2-T2, L1-S1.
_LEVELS = re.compile(
    r"(?<![a-z0-9])(?!t[12] ?[-/] ?t[12](?![0-9]))[ctls]\d{1,2} ?- ?[ctls]?\d{1,2}"
    r"(?![a-z0-9])"
)
_NEGATED = re.compile(
    r"(?<![a-z0-9])(w/? ?(and )?w/?o|with(out)?( and |/| )with(out)?|ohne|sin|sans|"
    r"without|w/o|wo|no|non|pre|vor|avant|antes de)[ _/-]*"
    r"(km|kontrast\w*|contraste?|gado\w*|gd|inj\w*|c)?(?![a-z0-9])|kontrastsiz"
)
MAX_LENGTH = 1000  # of the text that is looked at


def tokens_in(text: str) -> tuple[str, ...]:
    """List the tokens of VOCABULARY that a text holds, in the vocabulary's order."""
    plain = _plain(text)
    found = [token for token, pattern in _PATTERNS.items() if pattern.search(plain)]
    if not DIXON_CONTEXT & set(found):
        found = [token for token in found if token not in DIXON_ONLY]
    elif "fat-fraction" in found and not re.search(r"dixon|ideal|fat|fett", plain):
        found.remove("fat-fraction")
    return tuple(found)


def plane_in(words: str) -> Plane | None:
    """Return the plane that a description names, None for none or several."""
    planes = [PLANES[token] for token in tokens_in(words) if token in PLANES]
    return planes[0] if len(planes) == 1 else None


def contrast_in(words: str) -> Contrast | None:
    """Return the contrast that a description names, None for none or two."""
    tokens = set(tokens_in(words))
    if tokens & OTHER_CONTRASTS or {"t1", "fatsat"} <= tokens:
        return "another contrast"
    if "flair" in tokens and "t1" not in tokens:
        return "another contrast"
    t1, t2 = "t1" in tokens, bool(tokens & {"t2", "stir", "t2star"})
    if t1 and t2:
        return None
    return "T1" if t1 else "T2" if t2 else None


def _plain(text: str) -> str:
    """Write a text in small letters without accents, its parts between blanks."""
    folded = unicodedata.normalize("NFKD", text[:MAX_LENGTH].casefold())
    letters = "".join(c for c in folded if not unicodedata.combining(c))
    letters = letters.replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")
    letters = _NEGATED.sub(" ", _LEVELS.sub(" ", letters))
    spaced = re.sub(r"[^a-z0-9*+]+", " ", letters.replace("+", " +"))
    return _GLUED.sub(lambda part: " ".join(filter(None, part.groups())), spaced)
