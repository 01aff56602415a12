package people

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// good is a hash as others make it, of "right".
const good = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

// inPlace is a password where none belongs.
const inPlace = "hunter2Secret"

func TestLoad(t *testing.T) {
	data, err := Load(fstest.MapFS{File: {Data: lines("name: alice, hash: " + good)}})
	require.NoError(t, err)
	l, err := Parse(data)
	require.NoError(t, err)
	assert.Equal(t, 1, l.Len())
	_, err = Load(fstest.MapFS{})
	require.ErrorIs(t, err, ErrPeople)
	require.ErrorContains(t, err, `the Secret needs a key "people.yaml"`)
	_, err = Parse(nil)
	require.ErrorIs(t, err, ErrPeople)
}

// What is written without quotes is taken as it stands.
func TestParseTakesTextsAsWritten(t *testing.T) {
	l := parse(t, "name: 007, groups: [yes, 1.0], hash: "+good, "name: no, user: 2026-01-01, hash: "+good)
	p, ok := l.ByUser("007")
	require.True(t, ok)
	assert.Equal(t, []string{"1.0", "yes"}, p.Groups)
	p, ok = l.ByUser("2026-01-01")
	require.True(t, ok)
	assert.Equal(t, "no", p.Name)
}

func TestParseRefusesFiles(t *testing.T) {
	for data, want := range map[string]string{
		"":                                     "the file is empty; write `people: []`",
		"# nobody\n":                           "the file is empty; write `people: []`",
		"---\n":                                "it has no fields; write `people: …`",
		"{}":                                   "people: it is no list; begin each person with `- name:`, or write `people: []`",
		"people:":                              "people: it is no list",
		"people: {}":                           "people: it is no list",
		"people: " + inPlace:                   "people: it is no list",
		inPlace:                                "the file, line 1: it has no fields",
		"- name: alice":                        "the file, line 1: it has no fields",
		"people: []\nversion: 1":               `the file, line 2: there is no field "version"; known are people`,
		"People: []":                           `the file, line 1: there is no field "People"`,
		"people: []\npeople: []":               `the file, line 2: the field "people" is there twice; remove one of them`,
		"people: []\n---\npeople: []":          "more than one document",
		"people: []\n---\n- *" + inPlace:       "it is not YAML",
		"people: [":                            "it is not YAML",
		"people:\n\t- a":                       "line 2: it is not YAML; indent with blanks",
		"people: *" + inPlace:                  "the file: it is not YAML",
		"people: []\n? [" + inPlace + "]\n: 1": "the file, line 2: this is no field; known are people",
		"people:\n- " + inPlace:                "people[0], line 2: it has no fields; write `name: …`",
		"a: &a [" + inPlace + "]\npeople: *a":  "people: it is no list",
		"people: []#" + strings.Repeat("a", maxFile): "the file has more than 1048576 bytes",
	} {
		_, err := Parse([]byte(data))
		require.ErrorIs(t, err, ErrPeople, "%.50q", data)
		require.ErrorContains(t, err, want, "%.50q", data)
		assert.NotContains(t, err.Error(), inPlace)
	}
}

func TestParseRefusesPeople(t *testing.T) {
	const a = "name: alice, hash: " + good
	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = fmt.Sprintf("g%d", i)
	}
	for entry, want := range map[string]string{
		"hash: " + good:                                         "people[0].name: it is empty",
		"name: '', hash: " + good:                               "people[0].name: it is empty",
		"name: , hash: " + good:                                 "people[0].name: it is empty",
		"name: [alice], hash: " + good:                          "people[0].name, line 2: it is no text; write it on one line, in single quotes",
		"name: ' alice', hash: " + good:                         "people[0].name: it begins or ends with a blank",
		`name: "a\tb", hash: ` + good:                           "people[0].name: it holds a character that cannot be printed",
		`name: "a\u202eb", hash: ` + good:                       "people[0].name: it holds a character that cannot be printed",
		`name: "e\u0301", hash: ` + good:                        "people[0].name: it is not in Unicode normal form C",
		"name: " + strings.Repeat("ü", 129) + ", hash: " + good: "people[0].name: it is longer than 128 characters",
		"name: " + good + ", hash: " + good:                     "people[0].name: it holds a hash, which belongs in `hash`",
		a + ", user: x" + good:                                  `people[0].user ("alice"): it holds a hash, which belongs in`,
		a + ", user: ''":                                        `people[0].user ("alice"): it is empty; leave it out`,
		a + ", user:":                                           `people[0].user ("alice"): it is empty; leave it out`,
		a + ", user: {a: b}":                                    `people[0].user ("alice"), line 2: it is no text`,
		a + ", user: 'a '":                                      `people[0].user ("alice"): it begins or ends with a blank`,
		a + ", password: " + inPlace:                            `people[0] ("alice"), line 2: there is no field "password"; known are name, user, hash, groups`,
		a + ", " + good + ": a":                                 `people[0] ("alice"), line 2: this is no field; known are`,
		a + ", Hash: " + inPlace:                                `people[0] ("alice"), line 2: there is no field "Hash"`,
		a + ", name: bob":                                       `people[0] ("alice"), line 2: the field "name" is there twice; remove one of them`,
		a + ", groups: artists":                                 `people[0].groups ("alice"), line 2: it is no list; write`,
		a + ", groups:":                                         `people[0].groups ("alice"), line 2: it is no list; write`,
		a + ", groups: [a, [b]]":                                `people[0].groups[1] ("alice"), line 2: it is no text`,
		a + ", groups: [a, ~]":                                  `people[0].groups[1] ("alice"): it is no group`,
		a + ", groups: ['system:masters']":                      `people[0].groups[0] ("alice"): it is no group: give 1 to 256 characters`,
		a + ", groups: ['" + good + "']":                        `people[0].groups[0] ("alice"): it is no group`,
		a + ", groups: [a, b, a]":                               `people[0].groups[2] ("alice"): it is groups[0] again; remove one of them`,
		a + ", groups: [" + strings.Join(many, ",") + "]":       `people[0].groups ("alice"): there are 257; name at most 256`,
		"name: alice":                                           `people[0].hash ("alice"): there is none; run: vdi-frontdoor hash NAME`,
		"name: alice, hash: " + inPlace:                         `people[0].hash ("alice"): it is no bcrypt hash, and a password must not stand here in plain text; run: vdi-frontdoor hash NAME`,
		"name: alice, hash: 12345678":                           `people[0].hash ("alice"): it is no bcrypt hash`,
		"name: alice, hash: !!int " + inPlace:                   `people[0].hash ("alice"): it is no bcrypt hash`,
		"name: alice, hash: [" + inPlace + "]":                  `people[0].hash ("alice"), line 2: it is no text`,
		"name: alice, hash: $6$rounds=5000$" + inPlace:          `people[0].hash ("alice"): it is no bcrypt hash`,
		"name: alice, hash: x" + good:                           `people[0].hash ("alice"): it is no bcrypt hash`,
		"name: alice, hash: " + good[:59]:                       `people[0].hash ("alice"): it is damaged: copy all 60 characters`,
		"name: alice, hash: " + good + "a":                      `people[0].hash ("alice"): it is damaged`,
		"name: alice, hash: " + good[:59] + "z":                 `people[0].hash ("alice"): it is damaged`, // bits beyond the digest
		"name: alice, hash: $2x$" + good[4:]:                    `people[0].hash ("alice"): it is damaged`,
		"name: alice, hash: $2$" + good[4:] + "a":               `people[0].hash ("alice"): it is damaged`,
		"name: alice, hash: $2b$09$" + good[7:]:                 `people[0].hash ("alice"): its cost must be 10 to 14; run`,
		"name: alice, hash: $2b$15$" + good[7:]:                 `people[0].hash ("alice"): its cost must be 10 to 14; run`,
		"name: alice, hash: $2b$99$" + good[7:]:                 `people[0].hash ("alice"): its cost must be 10 to 14; run`,
	} {
		l, err := Parse(lines(entry))
		require.ErrorContains(t, err, ErrPeople.Error()+": "+want, entry)
		assert.Nil(t, l)
		assert.Len(t, err, 1, "%s\n%v", entry, err)
		assert.NotContains(t, err.Error(), inPlace)
		assert.NotContains(t, err.Error(), good[7:20])
	}
}

// Two people are two: in what they type, and whose desktops they have.
func TestParseRefusesTwins(t *testing.T) {
	_, err := Parse(lines("name: Alice, hash: "+good, "name: bob, user: carol, hash: "+good, "name: aLICE, user: other, hash: "+good, "name: carol, hash: "+good))
	require.ErrorIs(t, err, ErrPeople)
	assert.Equal(t, Problems{
		fmt.Errorf(`people[2].name ("aLICE"): it is the name of people[0] ("Alice"), too; upper and lower case are one`),
		fmt.Errorf(`people[3].user ("carol"): it is the user of people[1] ("bob"), too, who would share all desktops; give each their own`),
	}.Error(), err.Error())
}

// All problems are found at once, also beside a field that nobody knows.
func TestParseFindsAllProblems(t *testing.T) {
	_, err := Parse(lines("name: [a], pin: 1, user: ' ', hash: "+inPlace+", groups: ['', a, a]", "name: bob"))
	var problems Problems
	require.ErrorAs(t, err, &problems)
	assert.Len(t, problems, 7, err)
	_, err = Parse(lines(make([]string, 50)...))
	require.ErrorAs(t, err, &problems)
	assert.Len(t, problems, 100)
	assert.Len(t, strings.Split(err.Error(), "\n"), shownProblems+1)
	assert.ErrorContains(t, err, "\nand 80 more")
}

var anyHash = regexp.MustCompile(`\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}`)

// FuzzParse: nothing panics, errors show no hash, and what is accepted can be used.
func FuzzParse(f *testing.F) {
	f.Add(lines("name: alice, user: 'a b', groups: [a, b], hash: " + good))
	f.Add(lines("name: " + good + ", hash: *a, " + good + ": 1"))
	f.Add([]byte("people:\n- name: alice\n  hash: " + good + "\n- &a {name: bob}\n- <<: *a\n"))
	f.Add([]byte("people: [\n---\n? !!binary x\n"))
	f.Add([]byte("%YAML 1.1\n--- !!str\n" + good))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			require.ErrorIs(t, err, ErrPeople)
			require.Nil(t, l)
			for _, hash := range anyHash.FindAllString(string(data), -1) {
				require.NotContains(t, err.Error(), hash)
			}
			return
		}
		var loose struct{ People []map[string]any }
		if yaml.Unmarshal(data, &loose) == nil {
			require.Len(t, loose.People, l.Len())
		}
		for p := range l.All() {
			require.NoError(t, p.Validate())
			got, ok := l.ByUser(p.User)
			require.True(t, ok)
			require.Equal(t, p.Account(), got.Account())
		}
	})
}
