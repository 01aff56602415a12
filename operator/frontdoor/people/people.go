// Package people is the list of who may log in where there is no identity provider, in
// mode Local: names, hashes of passwords and groups, as a file holds them. It says what is
// wrong with a file, checks passwords, and makes entries.
//
// It must show nobody a hash or a password, also not where one stands in the wrong place,
// and must not show by the time it takes whether a name is in the list. How many attempts
// there are, and at once, is for the caller to limit: each costs much of a processor.
package people

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"

	"github.com/vdi-platform/vdi-platform/platform"
)

// Person may log in.
type Person struct {
	// Name is typed at the login, in upper or lower case.
	Name string
	// User is spec.user of their sessions.
	User string
	// Groups are sorted; nil where the list does not say, empty where they are in none.
	Groups []string

	// secret is a function, which no logger and nothing of package fmt looks into.
	secret func() secret
}

// secret is what nobody is shown.
type secret struct {
	hash []byte
	cost int
}

// Account stands for a person's name, user and hash: it is another one after any of them
// has changed. It says nothing about the password, as nobody knows the hash's salt.
func (p Person) Account() string {
	var hash []byte
	if p.secret != nil {
		hash = p.secret().hash
	}
	// Lengths come first, so that no other three give the same text.
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(p.Name), len(p.User), p.Name, p.User, hash))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// List is everybody who may log in. It never changes. A nil list is empty.
type List struct {
	people []Person
	byName map[string]int // by Fold
	byUser map[string]int
	// cost is the highest of the list, [hashCost] where it is empty.
	cost    int
	decoys  map[int][]byte // by cost
	compare func(hash, password []byte) error
}

func newList(people []Person) *List {
	l := &List{people: people, byName: map[string]int{}, byUser: map[string]int{}, compare: bcrypt.CompareHashAndPassword}
	for i, p := range people {
		l.byName[Fold(p.Name)], l.byUser[p.User] = i, i
		l.cost = max(l.cost, p.secret().cost)
	}
	if len(people) == 0 {
		l.cost = hashCost
	}
	l.decoys = map[int][]byte{l.cost: decoy(l.cost)}
	for cost := minCost; cost < l.cost; cost++ {
		l.decoys[cost] = decoy(cost)
	}
	return l
}

// decoy is a hash of no password that anybody knows.
func decoy(cost int) []byte {
	text := rand.Text() + rand.Text() + rand.Text() // of characters that bcrypt uses, too
	return fmt.Appendf(nil, "$2b$%02d$%s", cost, text[:hashLength-len("$2b$00$")])
}

// Fold is what names are compared by. Keyboards compose accents in two ways.
func Fold(name string) string { return norm.NFC.String(strings.ToLower(name)) }

// Check reports whether a password is the one of whoever has this name.
//
// It does the same work for each name and each password. The work of one comparison is
// 2^cost, and m is the highest cost of the list. For somebody of cost c there are decoys of
// cost c, c+1 … m-1 beside their hash: 2^c + (2^c + 2^(c+1) + … + 2^(m-1)) = 2^m. That is
// one decoy of cost m, which anybody else gets. What decoys say never counts.
func (l *List) Check(name, password string) (Person, bool) {
	if l == nil {
		l = newList(nil)
	}
	i, known := l.find(name)
	tried, usable := []byte(password), checkPassword([]byte(password)) == nil
	if !usable {
		tried = []byte("-") // it counts for nothing, see below
	}
	hash, cost := l.decoys[l.cost], l.cost
	if known {
		own := l.people[i].secret()
		hash, cost = own.hash, own.cost
	}
	matches := l.compare(hash, tried) == nil
	for ; cost < l.cost; cost++ {
		_ = l.compare(l.decoys[cost], tried)
	}
	if !known || !usable || !matches {
		return Person{}, false
	}
	return l.people[i], true
}

// find is where somebody stands. A longer text is nobody's name, and is not gone through.
func (l *List) find(name string) (int, bool) {
	if len(name) > maxNameBytes {
		return 0, false
	}
	i, known := l.byName[Fold(name)]
	return i, known
}

// ByUser is the person with this spec.user.
func (l *List) ByUser(user string) (Person, bool) {
	if l == nil {
		return Person{}, false
	}
	i, known := l.byUser[user]
	if !known {
		return Person{}, false
	}
	return l.people[i], true
}

// All is everybody, in the order of the file.
func (l *List) All() iter.Seq[Person] {
	if l == nil {
		return slices.Values([]Person(nil))
	}
	return slices.Values(l.people)
}

// Len is how many people there are.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.people)
}

// Bounds of what a person may be called, and be in.
const (
	maxName      = 128 // characters
	maxNameBytes = 4 * maxName
	maxGroups    = 256 // as many as a session may name
)

// Validate says everything that a list would not take of a person's name, user and groups.
// Without a user, the name is the user.
func (p Person) Validate() error {
	var faults []error
	p.validate(func(field, fault string) { faults = append(faults, fmt.Errorf("%s: %s", field, fault)) })
	return errors.Join(faults...)
}

func (p Person) validate(fault func(field, fault string)) {
	if wrong := wrongName(p.Name); wrong != "" {
		fault("name", wrong)
	}
	if wrong := wrongUser(p.User); wrong != "" && p.User != "" {
		fault("user", wrong)
	}
	if len(p.Groups) > maxGroups {
		fault("groups", fmt.Sprintf("there are %d; name at most %d", len(p.Groups), maxGroups))
		return
	}
	for i, group := range p.Groups {
		field := fmt.Sprintf("groups[%d]", i)
		if !platform.IsGroup(group) || holdsHash(group) {
			fault(field, fmt.Sprintf("it is no group: give 1 to %d characters that can be printed, not beginning with \"system:\"", platform.MaxGroupLength))
		} else if first := slices.Index(p.Groups, group); first < i {
			fault(field, fmt.Sprintf("it is groups[%d] again; remove one of them", first))
		}
	}
}

// wrongName is what is wrong with a name; "" for nothing. What is right for a name is right
// for a user, too.
func wrongName(name string) string {
	if wrong := wrongUser(name); wrong != "" {
		return wrong
	}
	if len([]rune(name)) > maxName {
		return fmt.Sprintf("it is longer than %d characters; the name typed at a login may be shorter than `user`", maxName)
	}
	return ""
}

func wrongUser(user string) string {
	if holdsHash(user) {
		return "it holds a hash, which belongs in `hash`"
	}
	err := platform.ValidateUser(user)
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), platform.ErrUser.Error()+": ")
}
