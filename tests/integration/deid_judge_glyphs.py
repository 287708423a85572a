"""Text drawn into pixels: a 5 x 7 font, enlarged."""
import numpy

_FONT = {
    "A": "0E1111111F1111", "B": "1E11111E11111E", "C": "0E11101010110E", "D": "1E11111111111E",
    "E": "1F10101E10101F", "F": "1F10101E101010", "G": "0E11101713110F", "H": "1111111F111111",
    "I": "0E04040404040E", "J": "0702020202120C", "K": "11121418141211", "L": "1010101010101F",
    "M": "111B1515111111", "N": "11191513111111", "O": "0E11111111110E", "P": "1E11111E101010",
    "Q": "0E11111115120D", "R": "1E11111E141211", "S": "0F10100E01011E", "T": "1F040404040404",
    "U": "1111111111110E", "V": "11111111110A04", "W": "1111111515150A", "X": "11110A040A1111",
    "Y": "11110A04040404", "Z": "1F01020408101F", "0": "0E11131519110E", "1": "040C040404040E",
    "2": "0E11010204081F", "3": "1F02040201110E", "4": "02060A121F0202", "5": "1F101E0101110E",
    "6": "0608101E11110E", "7": "1F010204080808", "8": "0E11110E11110E", "9": "0E11110F01020C",
}


def glyph_mask(text, scale):
    """Boolean array, rows x columns, of `text` (letters without a glyph are blanks)."""
    columns = []
    for letter in text.upper():
        code = bytes.fromhex(_FONT.get(letter, "00" * 7))
        glyph = numpy.array([[row >> (4 - x) & 1 for x in range(5)] for row in code], dtype=bool)
        columns += [glyph, numpy.zeros((7, 1), dtype=bool)]
    return numpy.kron(numpy.hstack(columns), numpy.ones((scale, scale), dtype=bool))


def burn(pixels, text, row, column, scale, value):
    """Draws into `pixels` (rows x columns [x samples]). (row, column, mask) of what was drawn."""
    mask = glyph_mask(text, scale)
    mask = mask[:pixels.shape[0] - row, :pixels.shape[1] - column]
    area = pixels[row:row + mask.shape[0], column:column + mask.shape[1]]
    area[mask] = value
    return row, column, mask


def contrast(pixels, banner):
    """How far the drawn letters still stand out, as a share of the image's range: 0 when gone."""
    row, column, mask = banner
    area = pixels[row:row + mask.shape[0], column:column + mask.shape[1]].astype(float)
    if area.ndim == 3:
        area = area.mean(axis=2)
    spread = float(pixels.max()) - float(pixels.min())
    if spread == 0:
        return 0.0
    return abs(area[mask].mean() - area[~mask].mean()) / spread
