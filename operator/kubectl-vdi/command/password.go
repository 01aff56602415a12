package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func (t *tool) passwordCommand() *cobra.Command {
	var showIt bool
	cmd := &cobra.Command{
		Use: "password NAME", Short: "Hand a desktop's password to a pipe",
		Long: "Hand a desktop's password to a pipe; to a terminal only with --show. The user name is desktop. A password changes at every resume.\n\n" +
			"It needs the right to get the session's Secret, which none of the platform's roles grants.",
		Example: `  kubectl vdi password alice | xclip`,
		Args:    oneName, ValidArgsFunction: t.completeSession,
		RunE: func(cmd *cobra.Command, args []string) error {
			toTerminal := isTerminal(t.Out)
			if toTerminal && !showIt {
				return errors.New("this would show the password on the terminal: say --show, or hand it to a program (… | xclip)")
			}
			c, name, err := t.connectFor(args[0])
			if err != nil {
				return err
			}
			s, err := c.session(cmd.Context(), name)
			if err != nil {
				return err
			}
			if err := hasPassword(s); err != nil {
				return err
			}
			o, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(c.namespace).Get(cmd.Context(), s.Status.CredentialsSecret, getOptions)
			if err != nil {
				return err
			}
			secret, err := as[corev1.Secret](o)
			if err != nil {
				return err
			}
			password := secret.Data[wire.KeyPassword]
			if len(password) == 0 {
				return fmt.Errorf("the Secret %s holds no password", secret.Name)
			}
			if toTerminal {
				password = append(password, '\n')
			}
			_, err = t.Out.Write(password)
			return err
		},
	}
	cmd.Flags().BoolVar(&showIt, "show", false, "Show it on a terminal")
	return cmd
}

// hasPassword refuses sessions that have none, or may be about to get another.
func hasPassword(s *vdi.VDISession) error {
	switch access := s.Status.Access; {
	case isOutdated(s):
		return fmt.Errorf("%s: the operator has not looked at the last change yet, so its password may be about to change: try again in a moment", s.Name)
	case s.Status.CredentialsSecret != "":
		return nil
	case access != nil && wire.AccessMode(access.Mode).LogsIn():
		return fmt.Errorf("%s has no password: its visitors log in at the platform, as themselves; open %s", s.Name, s.Status.URL)
	}
	return fmt.Errorf("%s has no password: it gets one when it starts", s.Name)
}
