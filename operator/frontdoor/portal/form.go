package portal

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// maxName is the longest name of a desktop that people give it, in characters.
const maxName = 64

// Wish is a form as somebody filled it in.
type Wish struct {
	Name, GPU, Memory, CPU, Home, TimeZone string
	// NoHome: files are gone with the desktop.
	NoHome bool
	// Again is the session whose home it takes back; "" for none but what its name finds.
	Again string
}

// With is the form for a desktop that takes a home back; that of nobody changes nothing.
func (w Wish) With(h Home) Wish {
	if h.Session == "" {
		return w
	}
	w.Name, w.Home, w.Again = h.Title, h.Size, h.Session
	return w
}

// Problems say what is wrong with a wish, by the field of the form.
type Problems map[string]string

// Fields of the form.
const (
	FieldName     = "name"
	FieldGPU      = "gpu"
	FieldMemory   = "memory"
	FieldCPU      = "cpu"
	FieldHome     = "homeSize"
	FieldTimeZone = "timeZone"
	FieldNoHome   = "noHome"
)

// WishFor is the form before anybody has filled it in. Taken are the names of the person's
// desktops.
func WishFor(t *vdi.VDITemplate, taken []string) Wish {
	sizes := Sizes(t)
	return Wish{
		Name: freeName(OfferOf(t).Title, taken), GPU: sizes.GPU.Default, Memory: sizes.Memory.Default, CPU: sizes.CPU.Default,
		Home: HomeSize().Default, TimeZone: "",
	}
}

func freeName(title string, taken []string) string {
	used := map[string]bool{}
	for _, name := range taken {
		used[nameKey(name)] = true
	}
	title = string([]rune(title)[:min(maxName-4, utf8.RuneCountInString(title))])
	name := strings.TrimSpace(title)
	for n := 2; used[nameKey(name)]; n++ {
		name = fmt.Sprintf("%s %d", title, n)
	}
	return name
}

// Session is what a wish makes: nil where there are problems.
func (w Wish) Session(namespace string, t *vdi.VDITemplate, p Person) (*vdi.VDISession, Problems) {
	problems, sizes := Problems{}, Sizes(t)
	read := func(field, typed string, s Size) string {
		text, problem := s.read(typed)
		if problem != "" {
			problems[field] = problem
		}
		return text
	}
	s := &vdi.VDISession{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Annotations: map[string]string{wire.AnnotationRequestedBy: p.User}},
		Spec:       vdi.VDISessionSpec{User: p.User, Template: t.Name, Groups: p.Groups},
	}
	s.Spec.DisplayName, problems[FieldName] = NameOf(w.Name)
	if gpus := read(FieldGPU, w.GPU, sizes.GPU); gpus != "" {
		n, _ := strconv.Atoi(gpus) // it was just written
		count := int32(n)
		s.Spec.Resources.GPU = &count
	}
	s.Spec.Resources.Memory = vdi.Quantity(read(FieldMemory, w.Memory, sizes.Memory))
	s.Spec.Resources.CPU = vdi.Quantity(read(FieldCPU, w.CPU, sizes.CPU))
	kept := !w.NoHome
	s.Spec.Persistence = vdi.Persistence{Enabled: &kept, Size: defaultHome}
	if kept {
		if size := read(FieldHome, w.Home, HomeSize()); size != "" {
			s.Spec.Persistence.Size = vdi.Quantity(size)
		}
	}
	if _, err := platform.TimeZone(w.TimeZone); err != nil {
		problems[FieldTimeZone] = "There is no such time zone. Examples are Europe/Berlin and Etc/UTC; or leave it empty."
	}
	s.Spec.TimeZone = vdi.TimeZone(w.TimeZone)
	for field, problem := range problems {
		if problem == "" {
			delete(problems, field)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	s.Name = platform.SessionName(p.User, nameKey(s.Spec.DisplayName))
	return s, nil
}

// IsCalled reports whether people know a session by a name, as names find homes: upper and
// lower case are alike.
func IsCalled(s *vdi.VDISession, name string) bool { return nameKey(TitleOf(s)) == nameKey(name) }

// IsFor reports whether a session is what a wish would make: the form was sent twice.
func IsFor(s, wished *vdi.VDISession) bool {
	a, b := s.Spec, wished.Spec
	return s.DeletionTimestamp == nil && a.Template == b.Template && a.DisplayName == b.DisplayName && a.TimeZone == b.TimeZone &&
		reflect.DeepEqual(a.Resources, b.Resources) && reflect.DeepEqual(a.Persistence.Enabled, b.Persistence.Enabled) && a.Persistence.Size == b.Persistence.Size
}

// NameOf is a name of a desktop as somebody typed it, without what cannot be seen at its ends.
// Problem says what is wrong with it.
func NameOf(typed string) (name, problem string) {
	name = norm.NFC.String(strings.Join(strings.Fields(typed), " "))
	switch {
	case !utf8.ValidString(typed):
		return "", "This is not valid text."
	case name == "":
		return "", "Give it a name."
	case utf8.RuneCountInString(name) > maxName:
		return "", fmt.Sprintf("This must have at most %d characters.", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", "This holds a character that cannot be seen."
	}
	return name, ""
}

// nameKey is what makes names the same: nobody should lose a home by an upper-case letter.
func nameKey(name string) string { return strings.ToLower(name) }

// TitleOf is a session's name as people see it.
func TitleOf(s *vdi.VDISession) string {
	if s.Spec.DisplayName != "" {
		return s.Spec.DisplayName
	}
	return s.Name
}
