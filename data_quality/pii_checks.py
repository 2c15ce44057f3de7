"""Which digits are a card, an account, an identity or a telephone number: check digits, prefixes, lengths, dates.

Sources: ISO/IEC 7812 (Luhn), ISO 13616 (IBAN, lengths of the SWIFT registry), GB 11643-1999 (Chinese resident
identity numbers), ITU-T E.164 (country codes), the North American Numbering Plan.
"""

import datetime
import ipaddress
import re

_NOT_DIGIT = re.compile("[^0-9]+")

_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FK FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HU LB NI PL SV", "29": "BR EG PS QA UA",
        "30": "JO KW MU YE", "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

_CALLING_CODE_LIST = """
    7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86
    90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237
    238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266
    267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380
    381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597
    598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853
    855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979
    992 993 994 995 996 998
"""
_CALLING_CODES = frozenset(_CALLING_CODE_LIST.split())

_CN_PROVINCES = frozenset(
    str(area + number)
    for area, numbers in ((10, 5), (20, 3), (30, 7), (40, 6), (50, 0), (50, 4), (60, 5))
    for number in (range(1, numbers + 1) if numbers else (0,))
) | {"71", "81", "82", "83"}
_CN_WEIGHTS = [pow(2, 17 - place, 11) for place in range(17)]
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


def digits_of(text: str) -> str:
    """The ASCII digits of `text`, in order."""
    return _NOT_DIGIT.sub("", text)


def is_luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether `digits` has the prefix and length of a card issuer, and a right Luhn digit."""
    return _has_issuer(digits) and is_luhn(digits)


def _has_issuer(digits: str) -> bool:
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if length == 15:
        return two in (34, 37)  # American Express
    if length == 14:
        return two in (36, 38, 39) or 300 <= three <= 305  # Diners Club
    if length == 16 and (digits[0] == "4" or 51 <= two <= 55 or 2221 <= four <= 2720):
        return True  # Visa, Mastercard
    if length == 19 and digits[0] == "4":
        return True
    return 16 <= length <= 19 and (
        two in (62, 65) or 644 <= three <= 649 or four == 6011 or 3528 <= four <= 3589
    )  # UnionPay, Discover, JCB


def iban_length(country: str) -> int | None:
    """Characters of an IBAN of this country, None where there are no IBANs."""
    return _IBAN_LENGTHS.get(country)


def is_iban(compact: str) -> bool:
    """Whether an IBAN without spaces has its country's length and right check digits (ISO 7064 MOD 97-10)."""
    if len(compact) != _IBAN_LENGTHS.get(compact[:2]):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def is_cn_id(number: str) -> bool:
    """Whether 18 (digits, the last may be X) or 15 digits are a Chinese resident identity number.

    Both forms hold a province and a date of birth; only the long one has a check digit.
    """
    if number[:2] not in _CN_PROVINCES:
        return False
    born = number[6:14] if len(number) == 18 else "19" + number[6:12]
    try:
        year = datetime.date(int(born[:4]), int(born[4:6]), int(born[6:])).year
    except ValueError:
        return False
    if not 1850 <= year <= 2099:
        return False
    if len(number) == 15:
        return True
    total = sum(weight * int(digit) for weight, digit in zip(_CN_WEIGHTS, number, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def is_international(digits: str) -> bool:
    """Whether digits behind a plus sign are a number of another country than those of code 1 (E.164: at most 15)."""
    if not 8 <= len(digits) <= 15:
        return False
    return any(digits[:length] in _CALLING_CODES for length in (1, 2, 3))


def is_cn_land_line(digits: str) -> bool:
    """Whether digits are a Chinese area code and the number of a land line there: 010, 02x and 8 digits, or 7 or 8."""
    if digits.startswith(("01", "02")):
        return len(digits) == 11 and digits[:3] in ("010", *(f"02{n}" for n in range(10))) and digits[3] in "2345678"
    return len(digits) in (11, 12) and "03" <= digits[:2] <= "09" and digits[4] in "2345678"


def is_address(text: str, public_only: bool) -> bool:
    """Whether `text` is an IPv4 or IPv6 address; with `public_only`, one that is routed on the Internet.

    Of IPv6 only 2000::/3 is: `ipaddress` calls everything global that is not reserved, `dead::beef` included.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not public_only:
        return True
    return address.is_global and not address.is_multicast and (address.version == 4 or address in _GLOBAL_UNICAST)
