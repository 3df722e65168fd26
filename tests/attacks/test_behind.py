"""The modules behind whatever can be called, found without calling it; and none that the call does not lead to."""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lib.attacks import behind

INNER, OTHER = nn.Linear(3, 2), nn.Linear(3, 3)
GLOBAL_LIST, GLOBAL_OWNER = [INNER], SimpleNamespace(net=INNER, other=OTHER)


class Owner:
    """An object whose call leads to one of its two modules."""

    shared = INNER

    def __init__(self):
        self.model, self.critic, self.parts = INNER, OTHER, {"main": [INNER]}
        self.inside = SimpleNamespace(model=INNER, critic=OTHER)

    def __call__(self, images):
        return self.model(images)

    def predict(self, images):
        return self.again(images)

    def again(self, images):
        return self.model(images)

    def of_class(self, images):
        return self.shared(images)

    def of_collection(self, images):
        return self.parts["main"][0](images)

    def of_inner_object(self, images):
        return self.inside.model(images)

    @property
    def own(self):
        return self.model

    def of_property(self, images):
        return self.own(images)


class Slotted:
    __slots__ = ("model",)

    def __init__(self):
        self.model = INNER

    def __call__(self, images):
        return self.model(images)


class Unregistered(nn.Module):
    """Its part stands in a plain list, which nn.Module does not look into."""

    def __init__(self):
        super().__init__()
        self.parts = [INNER]

    def forward(self, images):
        return self.parts[0](images)


def closures() -> dict:
    held, nets, owner = INNER, {"a": INNER}, Owner()

    def inside_out(images):
        return (lambda z: (lambda y: held(y))(z))(images)

    def by_keyword(images, *, model=held):
        return model(images)

    return {
        "a closure": lambda x: held(x),
        "a function in a function": inside_out,
        "a keyword's default": by_keyword,
        "a global list": lambda x: GLOBAL_LIST[0](x),
        "a global's attribute": lambda x: GLOBAL_OWNER.net(x),
        "a dictionary": lambda x: nets["a"](x),
        "an object in a closure": lambda x: owner(x),
        "its attribute": lambda x: owner.model(x),
        "its method": lambda x: owner.predict(x),
        "a bound method": owner.predict,
        "a partial of it": functools.partial(owner.predict),
        "an attribute of its class": owner.of_class,
        "a collection in it": owner.of_collection,
        "an object in it": owner.of_inner_object,
        "a property": owner.of_property,
        "an object": owner,
        "slots": Slotted(),
        "a decorated function": torch.no_grad()(lambda x: held(x)),
        "a list that is no ModuleList": Unregistered(),
    }


@pytest.mark.parametrize("case", closures())
def test_it_is_found_and_no_other(case):
    found = list(behind.modules(closures()[case]))
    assert any(module is INNER for module in found)
    assert not any(module is OTHER for module in found)


def test_a_module_is_itself_and_not_its_parts():
    network = nn.Sequential(INNER, nn.ReLU())
    assert list(behind.modules(network)) == [network]


def unfinished():
    """A function whose closure is still empty."""
    if False:
        later = INNER
    return lambda images: later(images)


def test_an_empty_closure_and_a_circle_end_the_search():
    owner = SimpleNamespace(model=INNER)
    owner.itself = owner
    assert list(behind.modules(unfinished())) == []
    assert list(behind.modules(lambda x: owner.itself.itself.model(x))) == [INNER]


def test_an_object_is_followed_by_every_name_that_leads_there():
    """Whichever is met first."""
    both = SimpleNamespace(first=INNER, second=OTHER)

    def one(images):
        return both.first(images)

    def other(images):
        return both.second(images)

    for network in (lambda x: other(one(x)), lambda x: one(other(x))):
        assert set(behind.modules(network)) == {INNER, OTHER}


def test_methods_that_name_each_other_are_looked_at_once(monkeypatch):
    """Though each time that one is asked for it is another object."""

    class Network(nn.Module):
        def forward(self, x):
            return self.encode(x) if self.training else self.decode(x)

        def encode(self, x):
            return self.decode(x)

        def decode(self, x):
            return self.encode(x)

    looked_at, look = [], behind._behind
    monkeypatch.setattr(behind, "_behind", lambda *place: looked_at.append(place) or look(*place))
    network = Network()
    assert list(behind.modules(network)) == [network]
    assert len(looked_at) < 30


def test_what_is_no_object_of_interest_uses_nothing_up():
    names = [f"class {i}" for i in range(2 * behind.MOST_SEEN)]
    assert list(behind.modules(lambda x: (names, INNER(x)))) == [INNER]


def test_hooks_own_forwards_and_compiled_functions_are_followed():
    hooked, own = nn.Identity(), nn.Identity()
    hooked.register_forward_hook(lambda module, images, output: INNER(output))
    own.forward = lambda images: INNER(images)
    compiled = torch.compile(lambda x: INNER(x), backend="eager")
    for network in (hooked, own, compiled):
        assert any(module is INNER for module in behind.modules(network))


def test_nothing_of_the_callers_runs():
    class Touchy:
        @property
        def model(self):
            raise AssertionError("called")

        def __getattr__(self, name):
            raise AssertionError("asked")

    touchy = Touchy()
    assert list(behind.modules(lambda x: touchy.model(x))) == []
