package people

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vdi-platform/vdi-platform/platform"
)

// File is the list's name in its folder.
const File = "people.yaml"

// maxFile is the longest file, in bytes: what a Secret can hold.
const maxFile = 1 << 20

// ErrPeople is the kind of every error about a list.
var ErrPeople = errors.New("unusable list of people")

// Problems are an [ErrPeople] with everything that is wrong with a list, a line for each.
type Problems []error

// shownProblems is how many an error's text has: it becomes one line of a log.
const shownProblems = 20

// Error implements error.
func (p Problems) Error() string {
	shown := errors.Join(p[:min(len(p), shownProblems)]...)
	if more := len(p) - shownProblems; more > 0 {
		return fmt.Sprintf("%v: %v\nand %d more", ErrPeople, shown, more)
	}
	return fmt.Sprintf("%v: %v", ErrPeople, shown)
}

// Unwrap makes each of them, and ErrPeople, known to errors.Is.
func (p Problems) Unwrap() []error { return append([]error{ErrPeople}, p...) }

// Load is the text of the list in a folder, for [Parse].
func Load(dir fs.FS) ([]byte, error) {
	data, err := fs.ReadFile(dir, File)
	if err != nil {
		return nil, fmt.Errorf("%w: the Secret needs a key %q: %w", ErrPeople, File, err)
	}
	return data, nil
}

// Parse reads a list. Errors are [Problems], and name no hash and no password.
func Parse(data []byte) (*List, error) {
	f := file{names: map[string]row{}, identities: map[string]row{}}
	var people []Person
	for i, n := range f.entries(data) {
		if p, ok := f.person(i, n); ok {
			people = append(people, p)
		}
	}
	if len(f.problems) > 0 {
		return nil, f.problems
	}
	return newList(people), nil
}

// file is what is known of a file so far.
type file struct {
	problems   Problems
	names      map[string]row // by Fold
	identities map[string]row // by platform.Identity
}

func (f *file) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf(format, args...))
}

// syntaxLine is the line of a syntax error. The rest of its text may quote the file.
var syntaxLine = regexp.MustCompile(`^yaml: (line [0-9]+):`)

const emptyList = "write `people: []` for a list of nobody"

// entries are the people's nodes. A file is read as nodes, and not into a type, for the
// library's errors about types quote values; and what somebody writes without quotes, as
// 007 or yes, is taken as it stands.
func (f *file) entries(data []byte) []*yaml.Node {
	if len(data) > maxFile {
		f.problem("the file has more than %d bytes; it may have 1 MiB, as all of a Secret", maxFile)
		return nil
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	switch err := documents.Decode(&document); {
	case errors.Is(err, io.EOF):
		f.problem("the file is empty; %s", emptyList)
		return nil
	case err != nil:
		f.syntax(err)
		return nil
	}
	switch err := documents.Decode(&more); {
	case err == nil:
		f.problem("the file has more than one document; remove the lines `---` and `...`")
		return nil
	case !errors.Is(err, io.EOF):
		f.syntax(err)
		return nil
	}
	fields, ok := f.fields("the file", document.Content[0], "people")
	if !ok {
		return nil
	}
	people := fields["people"]
	if people == nil || people.Kind != yaml.SequenceNode {
		f.problem("people: it is no list; begin each person with `- name:`, or %s", emptyList)
		return nil
	}
	return people.Content
}

func (f *file) syntax(err error) {
	where := "the file"
	if found := syntaxLine.FindStringSubmatch(err.Error()); found != nil {
		where = found[1]
	}
	f.problem("%s: it is not YAML; indent with blanks, all fields of a person alike, and put values with special characters in single quotes", where)
}

// fieldName is a text that is meant as the name of a field: other texts may be a secret.
var fieldName = regexp.MustCompile(`^[A-Za-z_-]{1,32}$`)

// fields are the values of a mapping by their names.
func (f *file) fields(of string, n *yaml.Node, known ...string) (map[string]*yaml.Node, bool) {
	if n.Kind != yaml.MappingNode {
		f.problem("%s, line %d: it has no fields; write `%s: …`", of, n.Line, known[0])
		return nil, false
	}
	fields := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := ""
		if key.Kind == yaml.ScalarNode && fieldName.MatchString(key.Value) {
			name = key.Value
		}
		switch {
		case name == "":
			f.problem("%s, line %d: this is no field; known are %s", of, key.Line, strings.Join(known, ", "))
		case !slices.Contains(known, name):
			f.problem("%s, line %d: there is no field %q; known are %s", of, key.Line, name, strings.Join(known, ", "))
		case fields[name] != nil:
			f.problem("%s, line %d: the field %q is there twice; remove one of them", of, key.Line, name)
		default:
			fields[name] = value
		}
	}
	return fields, true
}

// row is where a person stands in the file.
type row struct {
	index int
	name  string // "" where it is none
}

// field is how problems name a field of a row.
func (r row) field(field string) string {
	path := fmt.Sprintf("people[%d]", r.index)
	if field != "" {
		path += "." + field
	}
	if r.name != "" {
		path += fmt.Sprintf(" (%q)", r.name)
	}
	return path
}

// shownName is the name of a person; "" where there is none that a problem can show.
func shownName(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if name, ok := text(n.Content[i+1]); n.Content[i].Value == "name" && ok && wrongName(name) == "" {
			return name
		}
	}
	return ""
}

// person reads one person. What is wrong with them is among the problems then.
func (f *file) person(index int, n *yaml.Node) (Person, bool) {
	at := row{index: index, name: shownName(n)}
	fields, ok := f.fields(at.field(""), n, "name", "user", "hash", "groups")
	if !ok {
		return Person{}, false
	}
	var p Person
	var isName, isUser, isHash bool
	var hash string
	p.Name, isName = f.text(at, fields, "name")
	p.User, isUser = f.text(at, fields, "user")
	hash, isHash = f.text(at, fields, "hash")
	p.Groups = f.groups(at, fields["groups"])
	p.validate(func(field, fault string) {
		if field != "name" || isName {
			f.problem("%s: %s", at.field(field), fault)
		}
	})
	if fields["user"] == nil {
		p.User = p.Name
	} else if isUser && p.User == "" {
		f.problem("%s: it is empty; leave it out where it is the name", at.field("user"))
	}
	if wrong := wrongHash(hash); isHash && wrong != "" {
		f.problem("%s: %s", at.field("hash"), wrong)
	}
	f.unique(at, p)
	slices.Sort(p.Groups)
	own := secret{hash: []byte(hash), cost: costOf(hash)}
	p.secret = func() secret { return own }
	return p, true
}

// unique finds people who share a name or a user. Those with none are found elsewhere.
func (f *file) unique(at row, p Person) {
	if at.name != "" {
		if first, taken := f.names[Fold(p.Name)]; taken {
			f.problem("%s: it is the name of %s, too; upper and lower case are one", at.field("name"), first.field(""))
		} else {
			f.names[Fold(p.Name)] = at
		}
	}
	if p.User == "" {
		return
	}
	identity := platform.Identity(p.User)
	if first, taken := f.identities[identity]; taken {
		f.problem("%s: it is the user of %s, too, who would share all desktops; give each their own", at.field("user"), first.field(""))
	} else {
		f.identities[identity] = at
	}
}

// groups are nil where the entry does not speak of any: then the list does not say who is
// in which.
func (f *file) groups(at row, n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	groups := []string{}
	if n.Kind != yaml.SequenceNode {
		f.problem("%s, line %d: it is no list; write `groups: [artists]`, or leave it out", at.field("groups"), n.Line)
		return groups
	}
	for i, one := range n.Content {
		if group, ok := text(one); ok {
			groups = append(groups, group)
		} else {
			f.problem("%s, line %d: it is no text; write the name of a group", at.field(fmt.Sprintf("groups[%d]", i)), one.Line)
		}
	}
	return slices.Clip(groups)
}

// text is a field's value; "" where there is none. It reports whether it is a text.
func (f *file) text(at row, fields map[string]*yaml.Node, field string) (string, bool) {
	value, ok := text(fields[field])
	if !ok {
		f.problem("%s, line %d: it is no text; write it on one line, in single quotes", at.field(field), fields[field].Line)
	}
	return value, ok
}

// text is a scalar as it is written; "" for null, and where there is no node.
func text(n *yaml.Node) (string, bool) {
	switch {
	case n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", true
	case n.Kind != yaml.ScalarNode: // an alias, too: it is not followed
		return "", false
	}
	return n.Value, true
}
