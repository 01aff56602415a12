package renderer

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// escapeExpansion writes the value of a variable, or a word of a command, so that a
// container gets it byte for byte, except for references $(NAME) to the given
// variables, which the kubelet replaces. Only a $ that the kubelet would not leave
// alone is doubled, so that most values look in the pod as they do in the template.
func escapeExpansion(value string, references []string) string {
	var out strings.Builder
	for i := range len(value) {
		rest := value[i:]
		if isExpansion(rest) && !refersTo(rest, references) {
			out.WriteByte('$')
		}
		out.WriteByte(value[i])
	}
	return out.String()
}

// isExpansion says whether a kubelet changes a text that begins so: it takes $$ for $
// and replaces $(NAME) where it knows the name, and older ones split a character
// beyond ASCII that follows a $ (k8s.io/kubernetes,
// third_party/forked/golang/expansion).
func isExpansion(text string) bool {
	if len(text) < 2 || text[0] != '$' {
		return false
	}
	next := text[1]
	return next == '$' || next == '(' || next >= utf8.RuneSelf
}

// refersTo says whether a text begins with a reference to one of the variables.
func refersTo(text string, variables []string) bool {
	return slices.ContainsFunc(variables, func(name string) bool { return strings.HasPrefix(text, "$("+name+")") })
}
