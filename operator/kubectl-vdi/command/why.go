package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/operator/story"
)

func (t *tool) whyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "why NAME", Short: "Say why a session is as it is, and what helps",
		Long: "Say why a session is as it is: what it is, what it waits for and since when, its place, what has to change and by whom, when it ends.\n\n" +
			"It reads the session, and of template, pod, home, events, quotas, nodes and other sessions what you may read; it says what you may not.",
		Example: `  kubectl vdi why alice

  # what somebody has to do, for a script
  kubectl vdi why alice -o json | jq '.findings[] | select(.topic == "Remedy")'`,
		Args: oneName, ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name, err := t.connectFor(args[0])
			if err != nil {
				return err
			}
			facts, err := t.gather(cmd.Context(), c, name)
			if err != nil {
				return err
			}
			return t.printStory(facts, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output: json or yaml")
	complete(cmd, "output", "json", "yaml")
	return cmd
}

// printStory prints a session's story.
func (t *tool) printStory(facts story.Facts, output string) error {
	why := story.Of(facts)
	switch output {
	case "json":
		text, err := json.MarshalIndent(why, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(t.Out, string(text))
		return nil
	case "yaml":
		text, err := yaml.Marshal(why)
		if err != nil {
			return err
		}
		_, err = t.Out.Write(text)
		return err
	case "":
	default:
		return fmt.Errorf("--output=%s: give json or yaml", output)
	}
	phase := t.paint(t.Out, why.Phase)
	if why.Phase == "" {
		phase = "not looked at yet"
	}
	fmt.Fprintf(t.Out, "%s: %s\n", t.bold(t.Out, facts.Session.Name), phase)
	page{tool: t, out: t.Out, width: widthOf(t.Out), now: facts.Now}.write(why.Findings)
	return nil
}

// heading is what stands before the findings of a topic.
func heading(topic story.Topic) string {
	switch topic {
	case story.TopicWaits:
		return "Why"
	case story.TopicRemedy:
		return "To do"
	case story.TopicNext:
		return "Next"
	case story.TopicEvent:
		return "Events"
	case story.TopicUnread:
		return "Not read"
	}
	return string(topic)
}

// who has to act, as a list says it.
func who(by story.Actor) string {
	switch by {
	case story.Nobody:
		return "Nobody"
	case story.User:
		return "Its user"
	}
	return "An administrator"
}

// margin is where the texts begin.
const margin = 11

// page is a story on a terminal, or as text.
type page struct {
	*tool
	out   io.Writer
	width int // 0: lines are as long as they are
	now   time.Time
}

func (p page) write(findings []story.Finding) {
	last := story.Topic("")
	for _, f := range findings {
		label := ""
		if f.Topic != last {
			label, last = heading(f.Topic), f.Topic
		}
		p.paragraph(label, p.words(f))
		if f.Command != "" {
			fmt.Fprintf(p.out, "%s  %s\n", strings.Repeat(" ", margin), p.asCalled(harmless(f.Command)))
		}
	}
}

// words are a finding in one paragraph.
func (p page) words(f story.Finding) string {
	text := strings.TrimSuffix(oneLine(f.Text), ".")
	age := ""
	if f.Since != nil {
		age = duration.HumanDuration(max(0, p.now.Sub(f.Since.Time)))
	}
	switch {
	case f.Topic == story.TopicRemedy:
		return who(f.By) + ": " + text
	case f.Topic == story.TopicEvent && age != "":
		return age + " ago: " + text
	case f.Topic == story.TopicPlace && age != "":
		return text + "; it has waited for " + age
	case f.Topic == story.TopicEnds && age != "":
		return text + " (announced " + age + " ago)"
	case age != "":
		return text + " (for " + age + ")"
	}
	return text
}

// paragraph writes text beside a label, wrapped to the terminal.
func (p page) paragraph(label, text string) {
	lines := []string{text}
	if p.width > 0 {
		lines = wrap(text, max(p.width-margin, 20))
	}
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(p.out, "%s%s%s\n", p.bold(p.out, label), strings.Repeat(" ", margin-len(label)), line)
	}
}

// wrap breaks text between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
