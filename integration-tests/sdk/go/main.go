// SPDX-License-Identifier: Apache-2.0

// The command line. Its contract is in ../README.md and the same in every language.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

type options struct {
	address, namespace, queue, effects string
	nocache                            bool
	raw                                []string // the worker's flags, for its child

	prefix         string
	count          int
	seed           int64
	timeout        time.Duration
	journals       listFlag
	only, skip     string
	list           bool
	jobs           int
	order          orderArg
	failures       int
	rate, duration float64 // duration < 0: until SIGTERM
}

type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

func usage(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "sdk: "+format+"\n", args...)
	return 2
}

func init() {
	runtime.LockOSThread() // see runWorker
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	os.Exit(run(os.Args[1:]))
}

var cases = map[string]func(*options) int{
	"features": features, "start": startOrders, "signal": signalOrders, "finish": finishOrders,
	"load": load, "verify": verify,
}

func run(args []string) int {
	if len(args) == 0 || (args[0] != "worker" && args[0] != "client") {
		return usage("usage: sdk worker|client ...")
	}
	o := &options{raw: args[1:]}
	f := flag.NewFlagSet("sdk", flag.ContinueOnError)
	f.StringVar(&o.address, "address", "127.0.0.1:7233", "")
	f.StringVar(&o.namespace, "namespace", "default", "")
	f.StringVar(&o.queue, "task-queue", "sdk-test", "")
	f.StringVar(&o.effects, "effects", "", "")
	f.BoolVar(&o.nocache, "nocache", false, "")
	if args[0] == "worker" {
		if f.Parse(args[1:]) != nil {
			return 2
		}
		return runWorker(o)
	}
	var seconds float64
	f.IntVar(&o.count, "count", 1, "")
	f.Int64Var(&o.seed, "seed", 1, "")
	f.StringVar(&o.prefix, "id-prefix", "", "")
	f.Float64Var(&seconds, "timeout", 60, "")
	f.Var(&o.journals, "journal", "")
	f.StringVar(&o.only, "only", "", "")
	f.StringVar(&o.skip, "skip", "", "")
	f.BoolVar(&o.list, "list", false, "")
	f.IntVar(&o.jobs, "jobs", 8, "")
	f.Int64Var(&o.order.ActivityMs, "activity-ms", 500, "")
	f.Int64Var(&o.order.HeartbeatMs, "heartbeat-ms", 5000, "")
	f.Int64Var(&o.order.TimerMs, "timer-ms", 500, "")
	f.IntVar(&o.failures, "failures", 2, "")
	f.Int64Var(&o.order.BackoffMs, "backoff-ms", 200, "")
	f.IntVar(&o.order.Approvals, "approvals", 1, "")
	f.Float64Var(&o.rate, "rate", 10, "")
	f.Float64Var(&o.duration, "for", -1, "")

	// The case may stand anywhere among the flags.
	name, rest := "", args[1:]
	for {
		if f.Parse(rest) != nil {
			return 2
		}
		if f.NArg() == 0 {
			break
		}
		if name != "" {
			return usage("unexpected argument %q", f.Arg(0))
		}
		name, rest = f.Arg(0), f.Args()[1:]
	}
	fn := cases[name]
	if fn == nil {
		return usage("no such case: %q", name)
	}
	o.timeout = time.Duration(seconds * float64(time.Second))
	o.order.Failures = int32(o.failures)
	if o.prefix == "" && name != "features" {
		return usage("%s needs --id-prefix", name)
	}
	if (name == "signal" || name == "load") && len(o.journals) != 1 {
		return usage("%s needs one --journal", name)
	}
	return fn(o)
}

func connect(o *options, role string) (client.Client, error) {
	host, _ := os.Hostname()
	return client.Dial(client.Options{
		HostPort: o.address, Namespace: o.namespace, Logger: log.NewStructuredLogger(slog.Default()),
		Identity: fmt.Sprintf("go-%s@%s:%d", role, host, os.Getpid()),
	})
}
