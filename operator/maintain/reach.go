package maintain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout is how long one address has to take a connection. What a
// NetworkPolicy drops is never answered.
const dialTimeout = 3 * time.Second

// checkReach tries every address once, all at the same time, and writes a line
// for each, in the order given: `HOST:PORT reached`, or `HOST:PORT not reached` and why.
// Neither is an error: who asks knows which of them should be closed.
func checkReach(ctx context.Context, addresses []string, out io.Writer) error {
	if len(addresses) == 0 {
		return fmt.Errorf("%w: give addresses: check reach HOST:PORT…", ErrRefused)
	}
	for _, address := range addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	errs := make([]error, len(addresses))
	var attempts sync.WaitGroup
	for i, address := range addresses {
		attempts.Go(func() { errs[i] = reach(ctx, address) })
	}
	attempts.Wait()
	var write []error
	for i, address := range addresses {
		line := address + " reached"
		if errs[i] != nil {
			line = address + " not reached: " + errs[i].Error()
		}
		_, err := fmt.Fprintln(out, line)
		write = append(write, err)
	}
	return errors.Join(write...)
}

func reach(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
