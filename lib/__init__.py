"""The reproduction, wing by wing, in reading order. Arrows run from a later wing to an earlier one.

store       what takes long is made once: a call is kept under its code and its arguments.
data        digits and photographs: where their files lie, and what is read from them.
solvers     what is minimised, and how: projected L-BFGS and a quadratic programme, for a batch of problems at once.
attacks     how an image is changed: the paper's attack, the tight one, the exact optimum, and noise.
networks    the paper's networks and public ones, and how ours are trained.
measures    what is asked of networks, layers and adversarial images, and how sure the answers are.
record      the paper's numbers, ours, and what one says of the other.
figures     measured things in, a matplotlib Figure (or an element of the page) out.
experiments how it is put together: profiles and seeds, what a chapter starts from, what is kept, what there is to make.
"""
