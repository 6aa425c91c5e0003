// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

const defaultBackoff = 100 // ms

// The workflows by name. Script runs the list of steps it is given and is what the feature checks
// use, Order is the long one that scenarios hold in a phase, Short is the unit of load.
var workflows = map[string]any{"Script": scriptWorkflow, "Order": orderWorkflow, "Short": shortWorkflow}

type activityOpts struct {
	Stc          int64    `json:"stc,omitempty"`
	Sts          int64    `json:"sts,omitempty"`
	S2c          int64    `json:"s2c,omitempty"`
	Hb           int64    `json:"hb,omitempty"`
	Max          int32    `json:"max,omitempty"`
	Backoff      int64    `json:"backoff,omitempty"`
	Coefficient  float64  `json:"coefficient,omitempty"`
	NonRetryable []string `json:"nonRetryable,omitempty"`
	Queue        string   `json:"queue,omitempty"`
}

type step struct {
	Op           string       `json:"op"`
	Name         string       `json:"name,omitempty"`
	Arg          any          `json:"arg,omitempty"`
	Opts         activityOpts `json:"opts"`
	Catch        bool         `json:"catch,omitempty"`
	Local        bool         `json:"local,omitempty"`
	Ms           int64        `json:"ms,omitempty"`
	N            int          `json:"n,omitempty"`
	Attempt      int32        `json:"attempt,omitempty"`
	ID           string       `json:"id,omitempty"`
	Value        any          `json:"value,omitempty"`
	Steps        []step       `json:"steps,omitempty"`
	Close        string       `json:"close,omitempty"`
	Detach       bool         `json:"detach,omitempty"`
	Type         string       `json:"type,omitempty"`
	Message      string       `json:"message,omitempty"`
	Details      []any        `json:"details,omitempty"`
	NonRetryable bool         `json:"nonRetryable,omitempty"`
}

type scriptArg struct {
	Steps []step `json:"steps"`
}

type scriptState struct {
	Notes   []any `json:"notes"`
	Results []any `json:"results"`
}

func millis(n int64) time.Duration {
	return time.Duration(n) * time.Millisecond
}

func startActivity(ctx workflow.Context, s step) workflow.Future {
	o := s.Opts
	if o.Stc == 0 && o.S2c == 0 {
		o.Stc = 30_000
	}
	if o.Backoff == 0 {
		o.Backoff = defaultBackoff
	}
	if o.Coefficient == 0 {
		o.Coefficient = 1
	}
	retry := &temporal.RetryPolicy{InitialInterval: millis(o.Backoff), MaximumAttempts: o.Max,
		BackoffCoefficient: o.Coefficient, NonRetryableErrorTypes: o.NonRetryable}
	if s.Local {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
			ScheduleToCloseTimeout: millis(o.S2c), StartToCloseTimeout: millis(o.Stc),
			RetryPolicy: retry})
		return workflow.ExecuteLocalActivity(ctx, activities[s.Name], localArg(s))
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: o.Queue, ScheduleToCloseTimeout: millis(o.S2c),
		StartToCloseTimeout: millis(o.Stc), ScheduleToStartTimeout: millis(o.Sts),
		HeartbeatTimeout: millis(o.Hb), RetryPolicy: retry, WaitForCancellation: true})
	return workflow.ExecuteActivity(ctx, s.Name, s.Arg)
}

// localArg: a local activity wants its very type, no conversion takes place.
func localArg(s step) any {
	var typed any
	switch s.Name {
	case "nap":
		typed = &napArg{}
	case "failUntil":
		typed = &attemptArg{}
	default:
		return s.Arg
	}
	text, err := json.Marshal(s.Arg)
	if err == nil {
		err = json.Unmarshal(text, typed)
	}
	if err != nil {
		panic(err)
	}
	return reflect.ValueOf(typed).Elem().Interface()
}

func scriptWorkflow(ctx workflow.Context, arg scriptArg) (*scriptState, error) {
	state := &scriptState{Notes: []any{}, Results: []any{}}
	err := workflow.SetQueryHandler(ctx, "state", func() (*scriptState, error) { return state, nil })
	if err != nil {
		return nil, err
	}
	err = workflow.SetQueryHandler(ctx, "pick", func(i int) (any, error) {
		if i < 0 || i >= len(state.Results) {
			return nil, fmt.Errorf("no result %d", i)
		}
		return state.Results[i], nil
	})
	if err != nil {
		return nil, err
	}
	err = workflow.SetQueryHandler(ctx, "explode", func() (any, error) {
		return nil, fmt.Errorf("query exploded")
	})
	if err != nil {
		return nil, err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var note any
			workflow.GetSignalChannel(ctx, "note").Receive(ctx, &note)
			state.Notes = append(state.Notes, note)
		}
	})
	for _, s := range arg.Steps {
		result, err := state.run(ctx, s)
		if err != nil && (!s.Catch || workflow.IsContinueAsNewError(err)) {
			return nil, err
		}
		if err != nil {
			result = describe(err)
		}
		state.Results = append(state.Results, result)
	}
	return state, nil
}

func (state *scriptState) run(ctx workflow.Context, s step) (any, error) {
	var result any
	noted := func() bool { return len(state.Notes) > 0 }
	switch s.Op {
	case "act":
		err := startActivity(ctx, s).Get(ctx, &result)
		return result, err
	case "actCancel": // starts an activity, cancels it at the first note, waits for its end
		inner, cancel := workflow.WithCancel(ctx)
		future := startActivity(inner, s)
		if err := workflow.Await(ctx, noted); err != nil {
			return nil, err
		}
		cancel()
		err := future.Get(ctx, &result)
		return result, err
	case "timer":
		return map[string]any{"fired": s.Ms}, workflow.Sleep(ctx, millis(s.Ms))
	case "timerCancel":
		inner, cancel := workflow.WithCancel(ctx)
		timer := workflow.NewTimer(inner, millis(s.Ms))
		if err := workflow.Await(ctx, noted); err != nil {
			return nil, err
		}
		cancel()
		if err := timer.Get(ctx, nil); err != nil {
			return describe(err), nil
		}
		return map[string]any{"fired": s.Ms}, nil
	case "wait":
		err := workflow.Await(ctx, func() bool { return len(state.Notes) >= s.N })
		return len(state.Notes), err
	case "untilCancel": // waits to be cancelled, cleans up with an activity, ends as cancelled
		err := workflow.Await(ctx, func() bool { return false })
		detached, _ := workflow.NewDisconnectedContext(ctx)
		clean := startActivity(detached, step{Name: "echo", Arg: "cleaned up"})
		if cleaning := clean.Get(detached, &result); cleaning != nil {
			return nil, cleaning
		}
		state.Results = append(state.Results, result)
		return nil, err
	case "fail":
		return nil, failArg{s.Type, s.Message, s.Details, s.NonRetryable}.err()
	case "failUntil":
		attempt := workflow.GetInfo(ctx).Attempt
		if attempt < s.Attempt {
			return nil, failArg{Type: "Flaky", Message: fmt.Sprintf("attempt %d fails", attempt)}.err()
		}
		return attemptArg{attempt}, nil
	case "continue":
		return nil, workflow.NewContinueAsNewError(ctx, "Script", scriptArg{s.Steps})
	case "child":
		return child(ctx, s)
	case "tell":
		err := workflow.SignalExternalWorkflow(ctx, s.ID, "", "note", s.Value).Get(ctx, nil)
		return "told", err
	case "patch":
		return int(workflow.GetVersion(ctx, s.ID, workflow.DefaultVersion, 1)), nil
	case "side":
		var value string
		err := workflow.SideEffect(ctx, func(workflow.Context) any { return uuid.NewString() }).Get(&value)
		return value, err
	}
	return nil, temporal.NewNonRetryableApplicationError("no op "+s.Op, "Usage", nil)
}

func child(ctx workflow.Context, s step) (any, error) {
	policies := map[string]enumspb.ParentClosePolicy{
		"":               enumspb.PARENT_CLOSE_POLICY_TERMINATE,
		"TERMINATE":      enumspb.PARENT_CLOSE_POLICY_TERMINATE,
		"ABANDON":        enumspb.PARENT_CLOSE_POLICY_ABANDON,
		"REQUEST_CANCEL": enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
	}
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: s.ID, ParentClosePolicy: policies[s.Close]})
	future := workflow.ExecuteChildWorkflow(ctx, "Script", scriptArg{s.Steps})
	if err := future.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return nil, err
	}
	if s.Detach {
		return map[string]any{"started": s.ID}, nil
	}
	var result any
	err := future.Get(ctx, &result)
	return result, err
}

type orderArg struct {
	ActivityMs  int64 `json:"activityMs"`
	HeartbeatMs int64 `json:"heartbeatMs"`
	TimerMs     int64 `json:"timerMs"`
	Failures    int32 `json:"failures"`
	BackoffMs   int64 `json:"backoffMs"`
	Approvals   int   `json:"approvals"`
}

type orderState struct {
	Phase     string  `json:"phase"`
	Approvals int     `json:"approvals"`
	Values    []int64 `json:"values"`
}

type orderResult struct {
	Values    []int64          `json:"values"`
	Approvals int              `json:"approvals"`
	Work      map[string]int64 `json:"work"`
	Flaky     attemptArg       `json:"flaky"`
}

func orderWorkflow(ctx workflow.Context, arg orderArg) (*orderResult, error) {
	state := &orderState{Phase: "activity", Values: []int64{}}
	told := false
	err := workflow.SetQueryHandler(ctx, "state", func() (*orderState, error) { return state, nil })
	if err != nil {
		return nil, err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		all := workflow.NewSelector(ctx)
		all.AddReceive(workflow.GetSignalChannel(ctx, "add"), func(c workflow.ReceiveChannel, _ bool) {
			var value int64
			c.Receive(ctx, &value)
			state.Values = append(state.Values, value)
		})
		all.AddReceive(workflow.GetSignalChannel(ctx, "approve"), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			state.Approvals++
		})
		// Last: of what came in one workflow task, values are taken before the end is seen.
		all.AddReceive(workflow.GetSignalChannel(ctx, "finish"), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			told = true
		})
		for {
			all.Select(ctx)
		}
	})

	result := &orderResult{}
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: millis(arg.ActivityMs + 60_000), HeartbeatTimeout: millis(arg.HeartbeatMs),
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: millis(200)},
	}), "nap", napArg{arg.ActivityMs, -1}).Get(ctx, &result.Work)
	if err != nil {
		return nil, err
	}
	state.Phase = "timer"
	if err := workflow.Sleep(ctx, millis(arg.TimerMs)); err != nil {
		return nil, err
	}
	state.Phase = "retry"
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: millis(arg.BackoffMs),
			BackoffCoefficient: 1},
	}), "failUntil", attemptArg{arg.Failures + 1}).Get(ctx, &result.Flaky)
	if err != nil {
		return nil, err
	}
	state.Phase = "approval"
	if err := workflow.Await(ctx, func() bool { return state.Approvals >= arg.Approvals }); err != nil {
		return nil, err
	}
	state.Phase = "open"
	if err := workflow.Await(ctx, func() bool { return told }); err != nil {
		return nil, err
	}
	state.Phase = "done"
	result.Values, result.Approvals = state.Values, state.Approvals
	return result, nil
}

type shortArg struct {
	N       int64 `json:"n"`
	TimerMs int64 `json:"timerMs"`
}

type shortResult struct {
	N       int64 `json:"n"`
	Square  int64 `json:"square"`
	TimerMs int64 `json:"timerMs"`
}

func shortWorkflow(ctx workflow.Context, arg shortArg) (*shortResult, error) {
	result := &shortResult{N: arg.N, TimerMs: arg.TimerMs}
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: millis(200)},
	}), "effect", effectArg{arg.N}).Get(ctx, &result.Square)
	if err != nil {
		return nil, err
	}
	return result, workflow.Sleep(ctx, millis(arg.TimerMs))
}
