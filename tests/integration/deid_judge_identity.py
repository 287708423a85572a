"""Made-up patients whose every identifier is unlike any word that a scanner writes."""
import dataclasses
import random

# (specific character set, suffix for the family name, ideographic and phonetic groups)
SCRIPTS = (
    ("ISO_IR 100", "örgånæ", ""),
    (["", "ISO 2022 IR 87"], "", "=山田^太郎=やまだ^たろう"),
    ("GB18030", "", "=王^小东"),
    ("ISO_IR 192", "ßłëk", "=Луxемкин^Дзюба"),
    (["", "ISO 2022 IR 149"], "", "=洪^吉洞=홍^길동"),
)
SYLLABLES = "vrax quil dorn zeph wyx thal jorv krem oxly plun gwen hask byrt fenq".split()


@dataclasses.dataclass
class Patient:
    charset: object
    family: str
    given: str
    groups: str
    mrn: str
    birth: str
    phone: str
    street: str
    physician: str
    operator: str
    hospital: str
    station: str
    serial: str
    accession: list
    first_day: int  # of its studies, in days since 2016-01-01; all lie within 300 days

    @property
    def name(self):
        return f"{self.family}^{self.given}{self.groups}"

    def secrets(self):
        """kind -> what must not be found again; dates are apart, see `dates`."""
        words = {self.family, self.given, *self.physician.split("^"), *self.operator.split("^"),
                 self.hospital.split()[1], self.street.split()[1]}
        words |= {part for group in self.groups.split("=") for part in (group, *group.split("^"))
                  if len(part.encode()) >= 6}
        numbers = {self.mrn, self.phone, self.phone.replace(" ", ""), self.station, self.serial,
                   *self.accession}
        return words | numbers


def patients(seed, count=5):
    rng = random.Random(seed)

    def word(parts):
        return "".join(rng.choice(SYLLABLES) for _ in range(parts)).capitalize()

    def digits(length):
        return str(rng.randrange(10 ** (length - 1), 10 ** length))

    made = []
    for i in range(count):
        charset, suffix, groups = SCRIPTS[i % len(SCRIPTS)]
        made.append(Patient(
            charset=charset, family=word(2) + suffix, given=word(2), groups=groups,
            mrn=f"{rng.choice('QXZ')}{digits(8)}", phone=f"+00 {digits(3)} {digits(6)}",
            birth=f"19{rng.randrange(30, 70)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}",
            street=f"{rng.randrange(100, 999)} {word(2)} Street", physician=f"{word(2)}^{word(2)}",
            operator=f"{word(2)}^{word(1)}", hospital=f"Saint {word(3)} Hospital",
            station=f"{word(2).upper()}{digits(2)}", serial=f"SN{digits(7)}",
            accession=[f"ACC{digits(8)}" for _ in range(3)],
            first_day=rng.randrange(400, 2500)))
    return made
