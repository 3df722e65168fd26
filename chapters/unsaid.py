# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the paper leaves open
#
# :::{answer}
# :::
#
# Ten pages have no room for everything. Which $k$ divides the {term}`weight decay`? To which class is an image attacked? Over what is
# "average" averaged? Whoever rebuilds the paper has to choose, and each choice moves the numbers. But the paper prints
# numbers, and often only one of several readings leads to them. This page is a detective's: nine questions, for each the
# readings that one can think of, an experiment that could tell them apart, what it says, and how sure that makes us.
#
# Two warnings. Readings were thought of with the printed numbers in view, and of many readings one will fit by luck. And
# on other digits than MNIST's the experiments below run all the same, but whether they come near the paper's numbers says
# nothing then.

# %% tags=["parameters"]
profile = "quick"
data = "auto"
device = "auto"
seed = 0

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from IPython.display import Markdown
from myst_nb import glue

from lib.experiments import digits, readings, unsaid
from lib.figures import comparisons, curves
from lib.measures import averages, candidates, effects, transfer
from lib.networks import mnist
from lib.record import ledger, markdown, tables
from lib.record.markdown import tell

run = digits.begin("unsaid", profile, data, device, seed)
glue("dataset", run.train.name, display=False)
Markdown(run.banner)

# %% [markdown]
# ## What is k?
#
# **Open.** The loss has the term $\lambda \sum w^2 / k$, "$k$ the number of units in the layer". For a softmax on pixels that
# may be its 10 outputs, or its 784 inputs. [Framework](framework) tries three values and takes $k = 2$.
#
# **Experiment.** The loss of a {term}`linear network` is convex, so that nothing but $k$ moves its errors, once it is trained to the
# end. Train all three for many $k$, and see where a curve crosses zero.

# %%
paper = ledger.printed("table1")
decay = run.table("unsaid_decay", unsaid.decayed(run))
divisors = run.profile.unsaid.divisors
off = unsaid.off_printed(decay.told, paper, divisors)
best = unsaid.best_divisors(off, divisors)

# %% mystnb={"figure": {"caption": "How far the errors of the linear networks lie above those that Table 1 prints, against k. Where a curve crosses zero, that k gives the printed error.", "name": "fig-divisor"}, "image": {"alt": "Six falling curves against k on a logarithmic axis, a colour for each network, solid for the training error and dotted for the test error, and a line at zero."}}
curves.off_by_divisor(divisors, off, "Which k gives the printed errors?")

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
two, third = best[unsaid.FIRST_TWO], best["softmax 1"]
tell(decay_source=decay.source, k_two=(two[0], ".3g"), miss_two=(two[1], ".2f"))
tell(k_third=(third[0], ".3g"), miss_third=(third[1], ".2f"))
lines, heads = unsaid.in_words(best), ["network", "best k", "off (points)", "or"]
caption = "The best k, how far its worst error is off; all k off by at most 0.1 more."
Markdown(markdown.table(heads, lines, caption, "tab-divisor"))

# %% [markdown]
# **Answer.** {glue:text}`decay_source`, the four errors of the first two networks fit best at $k =$ {glue:text}`k_two`, where the
# worst of them is {glue:text}`miss_two` points off. For softmax 1 it is $k =$ {glue:text}`k_third`, and
# {glue:text}`miss_third` points.
#
# **How sure.** As sure as two convex problems make one, that the first two networks were not trained with $k$ read literally.
# The third is another matter. Its errors hang on $k$ more than the others', and if they ask for another $k$ than those,
# something differs that is not $k$: perhaps it was not trained to the end, or its biases had a decay, too.
#
# ## To which class?
#
# **Open.** $D(x, l)$ needs a class $l$. The paper does not say how it is chosen on MNIST.
#
# **Readings.** A wrong class at random, which is ours; the next digit; one class for all, say 0, where an image that is
# read as 0 already counts as length 0; the class that the network finds least likely; the nearest wrong class, which is to
# ask for no class at all; the farthest.
#
# **Experiment.** Attack every image to every class. All readings are choices among these ten lengths
# (`candidates.by_target`).

# %%
names, five = mnist.TABLE1, mnist.TABLE1[:5]
targets = run.table("unsaid_targets", unsaid.for_each(run, unsaid.targeted))
missed = averages.off(targets.told, paper, five, targets.columns)

# %% mystnb={"figure": {"caption": "Mean distortion under six readings of the target, over the distortion that Table 1 prints. A reading that fits has all its signs on the dashed line.", "name": "fig-goals"}, "image": {"alt": "Six lines, one for each reading, with a sign for each of six networks, left or right of a dashed line at 1."}}
fits = candidates.ratios(targets.told, paper, names, targets.columns)
comparisons.candidates(fits, "To which class did the paper attack?")

# %%
tell(targets_source=targets.source, num_reread=targets.n)
tell(target_name=readings.best(missed))
tell(off_random=(missed[candidates.RANDOM], ".0f"))
tell(off_nearest=(missed[candidates.NEAREST], ".0f"))
tell(off_farthest=(missed[candidates.FARTHEST], ".0f"))

# %% [markdown]
# **Answer.** {glue:text}`targets_source`, over {glue:text}`num_reread` images and the five networks other than the {term}`autoencoder`
# (whose training is not ours to know), the reading nearest to the paper is "{glue:text}`target_name`". A random wrong class is
# off by {glue:text}`off_random` % on average, the nearest by {glue:text}`off_nearest` % and the farthest by
# {glue:text}`off_farthest` %.
#
# **How sure.** At the paper's scale the nearest class is little more than half as far as the paper's, or less, for all five
# networks; the least likely and the farthest are farther for all five, and pooled they would be farther still. These three are
# out. What lies close together in {numref}`fig-goals` cannot
# be told apart: a random class, the next digit and one class for all visit near and far classes alike.
#
# ## Which average?
#
# **Open.** Table 1 has an "average minimum {term}`distortion`", the captions of Figure 7 a "stddev", and the first version explains: the
# minimum average distortion "necessary to reach 0 % accuracy on the training set".
#
# **Readings.** The mean over images. The root mean square over all pixels of all images that are classified correctly, which
# [fits better](how_near) than other averages of the same lengths. Or else that last sentence means what it says: *one*
# price $c$ for the whole set, the largest with which all images succeed, and the mean of what it leaves. The price may be
# one on $\lVert r \rVert$, as printed, or one on $\lVert r \rVert^2$, which is what one would rather minimise.
#
# **Experiment.** The attack's lengths are there. For one price, halve $c$ until every minimiser succeeds
# (`lib/attacks/lengths.py`).

# %%
cells = unsaid.for_each(run, unsaid.averaged) | unsaid.for_each(run, unsaid.searched)
lengths = run.table("unsaid_lengths", cells)
missed = averages.off(lengths.told, paper, five, unsaid.AVERAGES + unsaid.SEARCHES)
fits = candidates.ratios(lengths.told, paper, names, missed)

# %% mystnb={"figure": {"caption": "Four readings of the average, over the distortion that Table 1 prints, on the same images as above.", "name": "fig-averages"}, "image": {"alt": "Four lines, one for each reading, with a sign for each of six networks, left or right of a dashed line at 1."}}
averaged = {name: fits[name] for name in unsaid.AVERAGES}
comparisons.candidates(averaged, "Over what is the average?")

# %% tags=["hide-input"]
mean, pooled, one, one_squared = (missed[name] for name in unsaid.AVERAGES)
tell(lengths_source=lengths.source, off_mean=(mean, ".0f"), off_pooled=(pooled, ".0f"))
tell(off_one=(one, ".0f"), off_one_squared=(one_squared, ".0f"))
told, printed = lengths.told, paper["softmax 1", "distortion"]
linear = [told["softmax 1", name] / printed for name in unsaid.SHARED]
tell(one_linear=(linear[0], ".1f"), one_linear_squared=(linear[1], ".1f"))

# %% [markdown]
# **Answer.** {glue:text}`lengths_source`, the mean is off by {glue:text}`off_mean` % on average over the five networks, the pooled
# root mean square by {glue:text}`off_pooled` %. One price for all is off by {glue:text}`off_one` % on $\lVert r \rVert$ and by
# {glue:text}`off_one_squared` % on $\lVert r \rVert^2$. For softmax 1 alone it gives {glue:text}`one_linear` and
# {glue:text}`one_linear_squared` times the printed distortion.
#
# **How sure.** One price for all is as low as its hardest image asks for: over the whole training set it cannot be higher than
# here, and what is cheaper is longer. The pooled value remains the best explanation that we
# have, and it is not one of everything ([](how_near) says what speaks against it).
#
# ## How fine a search?
#
# **Open.** "Line search to find the minimum $c$." From where, how fine, and why the minimum? With $c$ in front of
# $\lVert r \rVert$ the smallest $r$ belongs to the *largest* $c$ that succeeds.
#
# **Readings.** A slip: $c$ was in front of the loss, where the minimum is right; then it is our search, since only the
# quotient of the two matters. A coarse search: halve $c$, or divide it by ten, from a large one until it succeeds. The text
# to the letter: the smallest $c$ there is. A solver in haste, which takes three steps at a price.
#
# **Experiment.** The same images, targets and networks; four other searches, and one with three steps of the solver.

# %% mystnb={"figure": {"caption": "Mean distortion under five other searches, over the distortion that Table 1 prints. The length or its square says what the price is on.", "name": "fig-searches"}, "image": {"alt": "Five lines, one for each search, with a sign for each of six networks, left or right of a dashed line at 1; the smallest c lies far to the right."}}
searched = {name: fits[name] for name in unsaid.SEARCHES}
comparisons.candidates(searched, "How did the paper search?")

# %% tags=["hide-input"]
squared, hurried = list(unsaid.HALVED)[1], unsaid.HURRIED
tell(off_halved=(missed[unsaid.SEARCHES[0]], ".0f"))
tell(off_halved_squared=(missed[squared], ".0f"), off_hurried=(missed[hurried], ".0f"))
tell(smallest_c=(unsaid.LEAST_PRICE, ".5f"))
tell(off_smallest=(missed[unsaid.SMALLEST], ".0f"))
flat = [lengths.told["softmax 1", n] for n in (averages.MEAN, *unsaid.SEARCHES)]
tell(longer=(flat[1] / flat[0], ".1f"))
tell(longer_squared=(flat[2] / flat[0], ".1f"))
tell(search_name=readings.best(missed), off_best=(min(missed.values()), ".0f"))

# %% [markdown]
# **Answer.** {glue:text}`lengths_source`, halving $c$ is off by {glue:text}`off_halved` % on average with the price on
# $\lVert r \rVert$, and by {glue:text}`off_halved_squared` % with the price on $\lVert r \rVert^2$. Three steps of the solver
# instead of all, in our search, are off by {glue:text}`off_hurried` %. With $c =$ {glue:text}`smallest_c`, as good as
# none, the minimiser goes on for confidence's sake and is {glue:text}`off_smallest` % off. Of all nine averages and searches
# "{glue:text}`search_name`" comes nearest, with {glue:text}`off_best` %.
#
# **How sure.** "Minimum" is a slip, of that we are sure; which search it was cannot be told. For softmax 1, whose
# probabilities are the flattest, halving ends at {glue:text}`longer` times the length of our search with the price on
# $\lVert r \rVert$, and at {glue:text}`longer_squared` times with the price on $\lVert r \rVert^2$. That a search which
# fits one network is far too coarse for another is [said](how_near) of the former.
#
# :::{more} All readings of targets, averages and searches in one table
# :::

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
every = candidates.ratios(targets.told, paper, five, targets.columns)
every |= candidates.ratios(lengths.told, paper, five, missed)
lines = [[name, *unsaid.off_in_words(of, five)] for name, of in every.items()]
caption = f"All readings: by how many per cent each is off. {lengths.source}."
Markdown(markdown.table(["reading", *five], lines, caption, "tab-every-reading"))

# %% [markdown]
# ## On how many images?
#
# **Open.** The rates of Tables 2 and 4 are "on the distorted training sets". On all 60,000 images of them?
#
# **Readings.** All; or a sample. A rate measured on $n$ images is a multiple of $1/n$, and the digits printed can betray $n$.
#
# :::{more} Experiment, answer, how sure
# :::
#
# **Experiment.** No network is needed, only a ruler. Lay all rates that are printed with decimals on a comb whose teeth are the
# 256ths, and count which lie on a tooth, as far as their digits go.

# %%
rates = candidates.kinds(ledger.digits("table2") | ledger.digits("table4"))
made = rates[candidates.MADE]
excess = candidates.beyond_chance(made, range(20, 1001))
likely = sorted(excess, key=excess.get, reverse=True)
beside = [value for value in made if not transfer.is_share_of(value)]

# %% mystnb={"figure": {"caption": "The rates of Tables 2 and 4 that are printed with decimals, ten per cent a line, on a comb of 256ths. Most of those that were made for a network lie on a tooth; of those under weak noise few do.", "name": "fig-comb"}, "image": {"alt": "Ten lines of short vertical teeth, and on them circles for the rates of images made for networks, and other signs for those under noise."}}
comparisons.comb(rates, 256, "Rates on a comb of 256ths")

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
tell(num_rates=len(made), likely=likely[0], next_likely=likely[1])
tell(num_on_comb=len(made) - len(beside))
tell(beside_list=markdown.listed(beside))
heads = ["rates", "printed", "on the comb", "by chance", "chance of as many"]
caption = "How many printed rates are multiples of 1/256, as far as their digits go."
lines = candidates.on_a_comb(rates, 256)
Markdown(markdown.table(heads, lines, caption, "tab-comb"))

# %% [markdown]
# **Answer.** Of {glue:text}`num_rates` rates on images made for a network {glue:text}`num_on_comb` are 256ths. Beside the
# comb lie {glue:text}`beside_list` %. Of all sizes from 20 to 1,000 the one that exceeds chance by most is
# {glue:text}`likely`, the next {glue:text}`next_likely`. The noise of 0.3 was measured alike; the weaker noise was not.
#
# **How sure.** Very. No digit of ours is in it, and the size was found by trying all. That three rates miss may mean slips, or
# cells that were measured anew. Distortions may well be averages over all images. How much a sample of 256 can be off,
# [Table 2's chapter](cross_model) computes.
#
# ## The norm of a convolution
#
# **Open.** The last version's formula for $\lVert W \rVert$ has the factor $1/D^2$ for a stride of $D$, and conv1's norm fell from the
# first version to the last.
#
# :::{more} Experiment, answer, how sure
# :::
#
# **Experiment.** [Spectral analysis](spectral_analysis) measures the norm in ways that know nothing of each other; the ratio
# of the true one to the printed formula's, for the first layers of two public networks:

# %%
five_norms = tables.kept("table5")
conv1 = [f"conv1, {network}" for network in ("AlexNet", "Caffe's")]
both = five_norms.told.grid(conv1, ["upper on a torus", "upper as printed"])
times = both[:, 0] / both[:, 1]
fell = [five_norms.printed["conv1", f"upper ({version})"] for version in ("v1", "v4")]
tell(norms_source=five_norms.source, times=markdown.span(times, ".2f"))
tell(first_norm=fell[0], last_norm=fell[1], fell=(fell[0] / fell[1], ".2f"))

# %% [markdown]
# **Answer.** {glue:text}`norms_source`, the formula is too small by a factor of {glue:text}`times`; the stride is 4. From
# {glue:text}`first_norm` to {glue:text}`last_norm` it is a factor of {glue:text}`fell`, neither 4 nor 16.
#
# **How sure.** Of the formula's factor quite: that is mathematics, and tested on small matrices. Of what the authors
# computed not at all: {numref}`tab-first` has six ways, and the paper's own weights are not to be had.
#
# ## Which amplification, and by 40 % of what?
#
# **Open.** Table 4's lower half has {term}`perturbations <perturbation>` "amplified to 0.1" by a formula that, as printed, makes them shorter. The first
# version adds that this "magnifies the distortion on average by 40 %, from stddev 0.06 to 0.1".
#
# :::{more} Readings, answer, how sure
# :::
#
# **Readings.** The formula as printed, its repair image by image, or one factor for all images. All have been measured
# ([](cross_training_set)); this is what they do to the size:

# %% mystnb={"markdown_format": "myst"}
sizes = tables.kept("amplification")
lines, heads = unsaid.amplified(sizes.told), ["reading", "size", "larger by (%)"]
caption = f"Mean size after amplification, over M1 to M3. {sizes.source}."
Markdown(markdown.table(heads, lines, caption, "tab-amplified"))

# %%
tell(from_small=(effects.percent_off(0.1, 0.06), ".0f"))
tell(from_large=(-effects.percent_off(0.06, 0.1), ".0f"))

# %% [markdown]
# **Answer.** From 0.06 to 0.1 is {glue:text}`from_small` % more. But 0.06 is {glue:text}`from_large` % less than 0.1: we think that
# the percentage was taken of the wrong end. No average over images could give it either, since the mean of
# the factors $0.1/d$ is at least 0.1 over the mean of $d$ (exercise 2).
#
# **How sure.** Of the 40 % fairly, since the other end gives the very number. Which formula was used is [less clear](cross_training_set).
#
# ## Whose 51 %?
#
# **Open.** In Figure 7, digits under noise of standard deviation 1 are "hardly readable", and still classified correctly in
# 51 % of cases. By which network, and was the noise clamped to $[0, 1]$, as it has to be for a picture?
#
# :::{more} Experiment, answer, how sure
# :::
#
# **Experiment.** All networks of Table 1, both ways.

# %%
noise = run.table("unsaid_noise", unsaid.under_noise(run))
columns, told = [unsaid.NOISE, unsaid.CLAMPED], noise.told
nearest = min(told, key=lambda cell: abs(told[cell] - 51))
best = max(names, key=lambda name: told[name, unsaid.NOISE])

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
tell(noise_source=noise.source, noise_name=nearest[0], kind_name=nearest[1])
tell(nearest_rate=(told[nearest], ".1f"))
tell(best_name=best, best_raw=(told[best, unsaid.NOISE], ".1f"))
tell(best_clamped=(told[best, unsaid.CLAMPED], ".1f"))
caption = "How often each network is right under noise of standard deviation 1."
Markdown(noise.show(columns, caption=caption, name="tab-noise-one", rows=names))

# %% [markdown]
# **Answer.** {glue:text}`noise_source`, nearest to 51 % comes {glue:text}`noise_name` with {glue:text}`nearest_rate` % (column
# "{glue:text}`kind_name`"). The one that withstands the noise best as it is, {glue:text}`best_name`, is right on
# {glue:text}`best_raw` % of the images, and on {glue:text}`best_clamped` % when it is clamped.
#
# **How sure.** The caption names 200-200-10 for the picture beside it, which speaks for that network; but one rate among
# twelve that comes near is little to go by. And the *pictures* of noise were clamped, as everything is that gets printed:
# if the noise was not, then what one reads in them is not what the network was given.
#
# ## Six per cent?
#
# **Open.** The first version says that 100-100-10 "gets to 6 % errors when regularized by weight decay alone"; its own Table 1
# has 1.64 % for the same network, with weight decay alone. The last version says 1.6 %.
#
# :::{more} Readings, experiment, answer, how sure
# :::
#
# **Readings.** A slip; a much stronger decay; fewer training images. For the last one it speaks that all three errors
# of that sentence are larger in the first version: 6, 3 and 2 %, where the last one has 1.6, 1.3 and 1.2.
#
# **Experiment.** Train with more decay, and on fewer images.

# %%
six = run.table("unsaid_six", unsaid.of_six_per_cent(run))
errors = {row: estimate.value for row, estimate in six.column(unsaid.TEST).items()}
closest = min(errors, key=lambda row: abs(errors[row] - 6))

# %% mystnb={"markdown_format": "myst"}
tell(six_source=six.source, six_name=closest, six_error=(errors[closest], ".1f"))
caption = "Test error of 100-100-10, trained otherwise."
shape = {"name": "tab-six", "index": "trained"}
Markdown(six.show([unsaid.TEST], caption=caption, **shape))

# %% [markdown]
# **Answer.** {glue:text}`six_source`, "{glue:text}`six_name`" comes nearest to 6 %, with {glue:text}`six_error` %. What pools of
# {term}`adversarial examples <adversarial example>` and dropout do at the paper's scale, [another chapter](adversarial_training) measures.
#
# **How sure.** Not at all. That a reading *can* give 6 % does not say that it did: with enough decay, or few enough images, a
# network gets as bad as one likes, and a slip of the pen needs neither.

# %% [markdown]
# ## Exercises
#
# **1. Two prices.** Show that a minimiser of $c \lVert r \rVert^2 + \mathrm{loss}$ is a stationary point of
# $c' \lVert r \rVert + \mathrm{loss}$ for another price $c'$, and which. Check it on a linear network.
#
# :::{dropdown} Solution 1
# At the minimiser $2 c\, r$ plus the gradient of the loss is zero in the coordinates that the box leaves free. That is $c' r / \lVert r \rVert$
# plus the gradient with $c' = 2 c \lVert r \rVert$. A linear network's loss is convex, and so the point is the
# minimiser there, too. Image by image the two families of minimisers are the same, then; a search that is coarse in $c$, or one price
# for all images, tells them apart.
#
# ```python
# from lib.attacks import lengths as at
#
# network, x = run.trained("softmax 1e-2").network, run.train.inputs[:1]
# problem = network, x, run.targets(run.train)[:1]
# squared = at.at_price(*problem, 0.01, 2, run.profile.attack)
# price = 2 * 0.01 * float(squared) * 784**0.5
# plain = at.at_price(*problem, price, 1, run.profile.attack)
# assert abs(plain / squared - 1) < 0.05
# ```
# :::
#
# **2. By 40 %.** Perturbations of sizes $d_1, \dots, d_n$ with mean 0.06 are brought to 0.1 each. Show that they grow by at least
# 67 % on average.
#
# :::{dropdown} Solution 2
# $1/d$ is convex, so that the mean of $0.1/d$ is at least $0.1$ over the mean of $d$ (Jensen), with equality only if all are
# alike.
#
# ```python
# import torch
#
# d = torch.rand(1000) + 0.2
# d *= 0.06 / d.mean()
# assert (0.1 / d).mean() - 1 > 0.1 / 0.06 - 1
# ```
# :::
#
# **3. Another comb.** Rates that are measured on 512 images, too, lie on the comb of 256ths half of the time. Can the printed
# rates have been measured on 512? And on 128?
#
# :::{dropdown} Solution 3
# On 512 images every other count is odd. If all counts were so, about half of the rates would lie beside the comb of 256ths,
# save for those that their digits leave undecided. On 128 every rate would be a 128th: count how many are.
#
# ```python
# for size in (128, 256, 512):
#     print(size, sum(transfer.is_share_of(rate, size) for rate in made))
# ```
# :::

# %% tags=["remove-cell"]
run.finish()
