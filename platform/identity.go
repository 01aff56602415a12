package platform

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxUserLength is the longest spec.user in characters.
const MaxUserLength = 256

// maxLabelValue is the longest label value, and the longest DNS label (RFC 1123).
const maxLabelValue = 63

// ErrUser is the kind of every error of ValidateUser.
var ErrUser = errors.New("invalid user")

// hashLength is 16 base32 characters: 80 bits, so that nobody finds a user
// whose identity equals another's by trying.
const hashLength = 16

// hash is the first length characters of the base32 form (RFC 4648, lower
// case, no padding) of the SHA-256 of text's bytes.
func hash(text string, length int) string {
	sum := sha256.Sum256([]byte(text))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:length]
}

// Identity stands for a user in labels and selectors: 80 bits of the SHA-256 of
// the exact bytes, in base32. Nothing is folded: two spellings are two people.
func Identity(user string) string { return hash(user, hashLength) }

// TemplateLabel is a template's name as a label value: the name itself, or a
// hash of it where it is too long for a label.
func TemplateLabel(name string) string {
	if len(name) <= maxLabelValue {
		return name
	}
	return hash(name, hashLength)
}

// ValidateUser says whether a text may be spec.user: 1 to 256 printable
// characters in Unicode NFC, no control characters, no blanks at the ends.
// Texts that are not NFC are refused, because they look like another user.
// Errors are ErrUser and say what is wrong without repeating the text.
func ValidateUser(user string) error {
	switch {
	case user == "":
		return fmt.Errorf("%w: it is empty", ErrUser)
	case !utf8.ValidString(user):
		return fmt.Errorf("%w: it is not UTF-8", ErrUser)
	case utf8.RuneCountInString(user) > MaxUserLength:
		return fmt.Errorf("%w: it is longer than %d characters", ErrUser, MaxUserLength)
	case strings.TrimSpace(user) != user:
		return fmt.Errorf("%w: it begins or ends with a blank", ErrUser)
	case strings.ContainsFunc(user, isNotPrintable):
		return fmt.Errorf("%w: it holds a character that cannot be printed", ErrUser)
	case !norm.NFC.IsNormalString(user):
		return fmt.Errorf("%w: it is not in Unicode normal form C; enter it again as composed characters", ErrUser)
	}
	return nil
}

// MaxGroupLength is the longest name of a group, in characters.
const MaxGroupLength = 256

// systemGroups begins the names of the cluster's own groups.
const systemGroups = "system:"

// IsGroup reports whether a text may stand in spec.groups of a session.
func IsGroup(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= MaxGroupLength &&
		!strings.ContainsFunc(name, isNotPrintable) && !strings.HasPrefix(name, systemGroups)
}

// isNotPrintable is unicode.IsPrint turned round: letters, marks, numbers,
// punctuation, symbols and the plain blank can be printed; controls, format
// characters (such as U+202E, which reverses text) and other blanks cannot.
func isNotPrintable(r rune) bool { return !unicode.IsPrint(r) }
