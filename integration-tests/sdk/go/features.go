// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// checks by name; the files checks_*.go fill it. A check ends by returning or by a mismatch panic.
var checks = map[string]func(*check){}

func register(named map[string]func(*check)) {
	for name, fn := range named {
		checks[name] = fn
	}
}

type mismatch string

func fail(format string, args ...any) {
	panic(mismatch(fmt.Sprintf(format, args...)))
}

func short(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte(fmt.Sprint(value))
	}
	if len(text) > 600 {
		return string(text[:600]) + "..."
	}
	return string(text)
}

// plain turns a value into what it is after a trip through JSON.
func plain(value any) any {
	text, err := json.Marshal(value)
	must(err)
	var out any
	must(json.Unmarshal(text, &out))
	return out
}

// equal compares what the values are in JSON.
func equal(what string, got, want any) {
	if !reflect.DeepEqual(plain(got), plain(want)) {
		fail("%s: got %s, want %s", what, short(got), short(want))
	}
}

func yes(what string, holds bool) {
	if !holds {
		fail("not so: %s", what)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func need[T any](value T, err error) T {
	must(err)
	return value
}

// raised gives the error of the wanted type that a call must have ended with.
func raised[E error](err error) E {
	var want E
	if !errors.As(err, &want) {
		fail("got error %v, want %T", err, want)
	}
	return want
}

func notFound(what string, err error) {
	var want *serviceerror.NotFound
	if !errors.As(err, &want) {
		fail("%s: got error %v, want NotFound", what, err)
	}
}

// check is what a check has at hand. Workflow ids are the prefix, the check's name and a tail.
type check struct {
	ctx                            context.Context
	c                              client.Client
	namespace                      string
	queue, nobody, nocache, prefix string
}

type startOptions = client.StartWorkflowOptions

// tryStart starts a Script; what options leave out is filled in. The tail extends the id.
func (k *check) tryStart(tail string, opts startOptions, steps ...step) (client.WorkflowRun, error) {
	if opts.TaskQueue == "" {
		opts.TaskQueue = k.queue
	}
	opts.ID = k.prefix + tail
	opts.WorkflowExecutionErrorWhenAlreadyStarted = true
	return k.c.ExecuteWorkflow(k.ctx, opts, "Script", script(steps))
}

func script(steps []step) scriptArg {
	if steps == nil {
		steps = []step{}
	}
	return scriptArg{steps}
}

func (k *check) startWith(tail string, opts startOptions, steps ...step) client.WorkflowRun {
	return need(k.tryStart(tail, opts, steps...))
}

func (k *check) start(steps ...step) client.WorkflowRun {
	return k.startWith("", startOptions{}, steps...)
}

func (k *check) result(run client.WorkflowRun) scriptState {
	var state scriptState
	must(run.Get(k.ctx, &state))
	return state
}

func (k *check) results(run client.WorkflowRun) []any {
	return k.result(run).Results
}

// run runs the steps and returns their results.
func (k *check) run(steps ...step) []any {
	return k.results(k.start(steps...))
}

// failure is the failure a workflow must end with, in the plain form.
func (k *check) failure(run client.WorkflowRun) map[string]any {
	var state any
	err := run.Get(k.ctx, &state)
	if err == nil {
		fail("got %s, want a failure", short(state))
	}
	if k.ctx.Err() != nil {
		panic(k.ctx.Err())
	}
	return describe(err)
}

func (k *check) events(id, run string) []*historypb.HistoryEvent {
	var all []*historypb.HistoryEvent
	iter := k.c.GetWorkflowHistory(k.ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for iter.HasNext() {
		all = append(all, need(iter.Next()))
	}
	return all
}

func (k *check) history(run client.WorkflowRun) []*historypb.HistoryEvent {
	return k.events(run.GetID(), run.GetRunID())
}

func (k *check) note(run client.WorkflowRun, value any) {
	must(k.c.SignalWorkflow(k.ctx, run.GetID(), run.GetRunID(), "note", value))
}

func (k *check) query(run client.WorkflowRun) scriptState {
	var state scriptState
	must(need(k.c.QueryWorkflow(k.ctx, run.GetID(), run.GetRunID(), "state")).Get(&state))
	return state
}

func (k *check) get(tail string) client.WorkflowRun {
	return k.c.GetWorkflow(k.ctx, k.prefix+tail, "")
}

// until tries a probe until it says true; the check's time limit bounds it.
func (k *check) until(probe func() bool) {
	for !probe() {
		select {
		case <-k.ctx.Done():
			panic(k.ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func kinds(events []*historypb.HistoryEvent) []string {
	names := make([]string, len(events))
	for i, event := range events {
		names[i] = event.EventType.String()
	}
	return names
}

func has(events []*historypb.HistoryEvent, kind string) bool {
	return slices.Contains(kinds(events), kind)
}

func count(events []*historypb.HistoryEvent, kind string) int {
	n := 0
	for _, name := range kinds(events) {
		if name == kind {
			n++
		}
	}
	return n
}

// one is the only event of that kind.
func one(events []*historypb.HistoryEvent, kind string) *historypb.HistoryEvent {
	equal("number of "+kind+" events", count(events, kind), 1)
	return events[slices.Index(kinds(events), kind)]
}

func decode(payloads *commonpb.Payloads) any {
	var out any
	must(json.Unmarshal(payloads.Payloads[0].Data, &out))
	return out
}

func runOne(c client.Client, o *options, name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	k := &check{ctx: ctx, c: c, namespace: o.namespace, queue: o.queue, nobody: o.queue + "-nobody",
		nocache: o.queue + "-nocache", prefix: o.prefix + "-" + name}
	reason := func() (reason string) {
		defer func() {
			if r := recover(); r != nil {
				reason = strings.ReplaceAll(fmt.Sprint(r), "\n", " ")
				deadline, _ := ctx.Deadline() // the server's clock may be a little early
				if _, ours := r.(mismatch); !ours && time.Until(deadline) < 100*time.Millisecond {
					reason = fmt.Sprintf("not done after %g s", o.timeout.Seconds())
				}
			}
		}()
		checks[name](k)
		return ""
	}()
	if reason != "" {
		fmt.Printf("FAIL %s: %s\n", name, reason)
		return false
	}
	fmt.Printf("ok %s\n", name)
	return true
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
}

// features runs the checks, several at a time, each with a time limit of its own.
func features(o *options) int {
	picked, skipped := split(o.only), split(o.skip)
	for _, name := range append(slices.Clone(picked), skipped...) {
		if checks[name] == nil {
			return usage("no such check: %s", name)
		}
	}
	if len(picked) == 0 {
		for name := range checks {
			picked = append(picked, name)
		}
		slices.Sort(picked)
	}
	picked = slices.DeleteFunc(picked, func(s string) bool { return slices.Contains(skipped, s) })
	if o.list {
		fmt.Println(strings.Join(picked, "\n"))
		return 0
	}
	if o.prefix == "" {
		o.prefix = fmt.Sprintf("f-%08x", rand.Uint32())
	}
	c, err := connect(o, "client")
	if err != nil {
		fmt.Println("FAIL connect:", err)
		return 1
	}
	defer c.Close()
	var failed atomic.Int32
	var all sync.WaitGroup
	gate := make(chan struct{}, o.jobs)
	for _, name := range picked {
		gate <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			if !runOne(c, o, name) {
				failed.Add(1)
			}
			<-gate
		}()
	}
	all.Wait()
	bad := int(failed.Load())
	fmt.Printf("features: %d ok, %d failed\n", len(picked)-bad, bad)
	return min(bad, 1)
}
