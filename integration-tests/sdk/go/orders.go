// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

const (
	callTimeout = 10 * time.Second
	retryPause  = 200 * time.Millisecond
	seedSpan    = 1_000_000 // values of one `signal` run: seed * seedSpan + 0, 1, 2, ...
)

func ids(o *options) []string {
	all := make([]string, o.count)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d", o.prefix, i)
	}
	return all
}

func broken(err error) int {
	fmt.Fprintln(os.Stderr, "sdk:", err)
	return 1
}

// each runs fn for every item, o.jobs at a time.
func each[T any](o *options, items []T, fn func(T)) {
	gate := make(chan struct{}, o.jobs)
	var all sync.WaitGroup
	for _, item := range items {
		gate <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			fn(item)
			<-gate
		}()
	}
	all.Wait()
}

// send sends one signal. What may succeed later is tried again with the same request id, which is
// harmless, until the call's time is over.
func send(ctx context.Context, c client.Client, o *options, id, name, requestID string, values ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: o.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id},
		SignalName: name, Input: payloads(values...), RequestId: requestID, Identity: "go-client",
	}
	for {
		_, err := c.WorkflowService().SignalWorkflowExecution(ctx, request)
		if err == nil || !slices.Contains(retryable, errorClass(err)) || pause(ctx, retryPause) {
			return err
		}
	}
}

var retryable = []string{"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN"}

// startOrders starts the orders; each start is repeated until it is acknowledged or time is up.
func startOrders(o *options) int {
	c, err := connect(o, "client")
	if err != nil {
		return broken(err)
	}
	defer c.Close()
	var out *journal
	if len(o.journals) > 0 {
		if out, err = openJournal(o.journals[0]); err != nil {
			return broken(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	var done atomic.Int32
	each(o, ids(o), func(id string) {
		run, err := startOrder(ctx, c, o, id)
		if err != nil {
			fmt.Printf("FAIL start: %s: %v\n", id, err)
			return
		}
		fmt.Printf("started %s %s\n", id, run)
		if out != nil {
			out.write(entry{ID: id, Run: run})
		}
		done.Add(1)
	})
	missing := o.count - int(done.Load())
	fmt.Printf("start: %d started, %d not\n", done.Load(), missing)
	return min(missing, 1)
}

func startOrder(ctx context.Context, c client.Client, o *options, id string) (string, error) {
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		run, err := c.ExecuteWorkflow(call, startOptions{ID: id, TaskQueue: o.queue,
			WorkflowExecutionErrorWhenAlreadyStarted: true}, "Order", o.order)
		cancel()
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		switch {
		case err == nil:
			return run.GetRunID(), nil
		case errors.As(err, &already):
			return already.RunId, nil
		case pause(ctx, retryPause):
			return "", err
		}
	}
}

// signalOrders sends unique values, one call at a time to each order, and journals every outcome.
func signalOrders(o *options) int {
	c, err := connect(o, "client")
	if err != nil {
		return broken(err)
	}
	defer c.Close()
	out, err := openJournal(o.journals[0])
	if err != nil {
		return broken(err)
	}
	var acknowledged, unknown, sent atomic.Int64
	var flying sync.WaitGroup
	names := ids(o)
	busy := make([]atomic.Bool, o.count)
	ticks(o, func(n int64) {
		for i := range names {
			at := (int(n) + i) % len(names)
			if !busy[at].CompareAndSwap(false, true) {
				continue
			}
			value := o.seed*seedSpan + sent.Add(1) - 1
			flying.Add(1)
			go func() {
				defer flying.Done()
				defer busy[at].Store(false)
				line := entry{ID: names[at], Value: &value}
				request := fmt.Sprintf("%s/%d", names[at], value)
				err := send(context.Background(), c, o, names[at], "add", request, value)
				if err != nil {
					line.Unknown, line.Error = true, errorClass(err)
					unknown.Add(1)
				} else {
					acknowledged.Add(1)
				}
				out.write(line)
			}()
			return
		}
		// Every order is waiting for an answer: this tick sends nothing.
	})
	flying.Wait()
	fmt.Printf("signal: %d acknowledged, %d unknown\n", acknowledged.Load(), unknown.Load())
	return 0
}

type tally struct {
	acknowledged, unknown, unknownApplied, lost, doubled, foreign, reordered int
}

func (t *tally) add(u tally) {
	t.acknowledged += u.acknowledged
	t.unknown += u.unknown
	t.unknownApplied += u.unknownApplied
	t.lost += u.lost
	t.doubled += u.doubled
	t.foreign += u.foreign
	t.reordered += u.reordered
}

// judge compares the values of one order with what the journals say of it.
func judge(id string, values []int64, lines []entry) (t tally, problems []string) {
	seen, known := map[int64]int{}, map[int64]bool{}
	// One call at a time per order and seed: its values ascend unless something reordered them.
	last := map[int64]int64{}
	for _, value := range values {
		if seen[value]++; seen[value] == 2 {
			t.doubled++
			problems = append(problems, fmt.Sprintf("%s doubled %d", id, value))
		}
		if value < last[value/seedSpan] {
			t.reordered++
		}
		last[value/seedSpan] = value
	}
	for _, line := range lines {
		value := *line.Value
		known[value] = true
		switch {
		case line.Unknown:
			t.unknown++
			if seen[value] > 0 {
				t.unknownApplied++
			}
		case seen[value] == 0:
			t.acknowledged++
			t.lost++
			problems = append(problems, fmt.Sprintf("%s lost %d", id, value))
		default:
			t.acknowledged++
		}
	}
	for value := range seen {
		if !known[value] {
			t.foreign++
		}
	}
	return t, problems
}

func finishOrder(ctx context.Context, c client.Client, o *options, id string) (*orderResult, error) {
	tell := func(name string, number int) error {
		for {
			err := send(ctx, c, o, id, name, fmt.Sprintf("%s/%s/%d", id, name, number))
			var gone *serviceerror.NotFound
			if err == nil || errors.As(err, &gone) { // gone: already closed, judged by its result
				return nil
			}
			if pause(ctx, retryPause) {
				return err
			}
		}
	}
	for number := range o.order.Approvals {
		if err := tell("approve", number); err != nil {
			return nil, err
		}
	}
	if err := tell("finish", 0); err != nil {
		return nil, err
	}
	for {
		result := &orderResult{}
		err := c.GetWorkflow(ctx, id, "").Get(ctx, result)
		if err == nil || final(err) || pause(ctx, retryPause) {
			return result, err
		}
	}
}

// final tells an outcome of the workflow from a call that failed.
func final(err error) bool {
	var gone *serviceerror.NotFound
	var ended interface{ RunID() string }
	return errors.As(err, &gone) || describe(err)["kind"] != "other" || errors.As(err, &ended)
}

// finishOrders approves and finishes every order, then compares its result with the journals.
func finishOrders(o *options) int {
	c, err := connect(o, "client")
	if err != nil {
		return broken(err)
	}
	defer c.Close()
	all, err := readLines[entry](o.journals)
	if err != nil {
		return broken(err)
	}
	lines := map[string][]entry{}
	for _, line := range all {
		if line.Value != nil {
			lines[line.ID] = append(lines[line.ID], line)
		}
	}
	var mu sync.Mutex
	var sum tally
	good := 0
	each(o, ids(o), func(id string) {
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
		defer cancel()
		result, err := finishOrder(ctx, c, o, id)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fmt.Printf("FAIL finish: %s: %v\n", id, err)
			return
		}
		t, problems := judge(id, result.Values, lines[id])
		sum.add(t)
		if _, slept := result.Work["slept"]; !slept || result.Flaky.Attempt <= 0 {
			problems = append(problems, fmt.Sprintf("%s wrong result %s", id, short(result)))
		}
		if result.Approvals != o.order.Approvals {
			problems = append(problems, fmt.Sprintf("%s has %d approvals, want %d", id,
				result.Approvals, o.order.Approvals))
		}
		for _, problem := range problems {
			fmt.Println("FAIL finish:", problem)
		}
		if len(problems) == 0 {
			good++
		}
	})
	for _, id := range ids(o) {
		delete(lines, id)
	}
	if len(lines) > 0 {
		fmt.Printf("FAIL finish: journal names %d orders beyond --count\n", len(lines))
	}
	fmt.Printf("finish: orders=%d good=%d acknowledged=%d unknown=%d unknown_applied=%d lost=%d "+
		"doubled=%d foreign=%d reordered=%d\n", o.count, good, sum.acknowledged, sum.unknown,
		sum.unknownApplied, sum.lost, sum.doubled, sum.foreign, sum.reordered)
	if good < o.count || len(lines) > 0 {
		return 1
	}
	return 0
}
