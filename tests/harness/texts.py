"""Texts for property tests: what combines, decomposes or shows nothing is drawn as often as plain letters."""

from hypothesis import strategies as st

_ANY = st.characters(exclude_categories=["Cs"])

_AWKWARD = st.one_of(
    st.sampled_from("aeoqzAEO가각힣한ᄀᄒ\n\t ſẛﬁﷺ\u0301\u0323\u0307\u0308\u0345"),
    st.characters(categories=["M"]),
    st.characters(min_codepoint=0x1100, max_codepoint=0x11FF),  # conjoining jamo
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7FB, exclude_categories=["Cn"]),  # syllables, old jamo
    st.characters(min_codepoint=0x3131, max_codepoint=0x33FF),  # compatibility jamo, circled and squared letters
    st.characters(min_codepoint=0xF900, max_codepoint=0xFFEF),  # ideographs, ligatures, half and full width
    st.characters(min_codepoint=0x0900, max_codepoint=0x0DFF),  # vowels that join from behind, with class 0
    _ANY,
)

texts = st.text(_AWKWARD, max_size=30)
"""Any text without lone surrogates."""

forms = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])
