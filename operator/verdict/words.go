package verdict

import "strings"

// Sentences puts what is to be said one after another.
func Sentences(words ...string) string {
	for i, s := range words {
		if !strings.HasSuffix(s, "?") && i < len(words)-1 {
			words[i] = s + "."
		}
	}
	return strings.Join(words, " ")
}

// MaxMessage is the longest status.message the CRD allows.
const MaxMessage = 4096

// Shorten cuts a text to at most limit bytes, at a whole character.
func Shorten(text string, limit int) string {
	const mark = " …"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}
